// The room PlainJSON.
