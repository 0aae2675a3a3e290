// The room DumpSource.
