// The room Checkpoint.
