// The room ProcessModel.
