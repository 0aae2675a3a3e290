// The room Recovery.
