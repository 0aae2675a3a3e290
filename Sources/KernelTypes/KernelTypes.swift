// The room KernelTypes.
