// The room Salvage.
