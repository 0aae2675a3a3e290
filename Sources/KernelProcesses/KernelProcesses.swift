// The room KernelProcesses.
