// The room KernelObjects.
