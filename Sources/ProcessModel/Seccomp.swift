/// What a thread may still ask of the kernel (`task->seccomp`).
public enum Seccomp: Sendable, Hashable {
    case off
    /// SECCOMP_MODE_STRICT: read, write, exit and sigreturn.
    case strict
    /// SECCOMP_MODE_FILTER: its filters, the oldest first; each system call has to pass all.
    case filters([SeccompFilter])
    /// Any other mode, by its number.
    case other(Int32)
}

/// `struct seccomp_filter` (kernel/seccomp.c).
public struct SeccompFilter: Sendable, Hashable {
    /// The same for threads that inherited one filter, and different for equal filters that were installed one by one. Unique in the guest.
    public var number: Int
    /// nil: the kernel did not keep it (it does with CONFIG_CHECKPOINT_RESTORE).
    public var program: [FilterInstruction]?
    /// SECCOMP_FILTER_FLAG_LOG.
    public var isLogged: Bool
    /// A listener decides on its calls (SECCOMP_FILTER_FLAG_NEW_LISTENER).
    public var hasListener: Bool

    public init(number: Int, program: [FilterInstruction]?, isLogged: Bool = false, hasListener: Bool = false) {
        self.number = number
        self.program = program
        self.isLogged = isLogged
        self.hasListener = hasListener
    }
}
