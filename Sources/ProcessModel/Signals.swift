import GuestMemory

/// `struct sighand_struct`: what happens on each signal.
public struct SignalActions: Sendable, Hashable {
    /// Actions of signals 1…64, in order.
    public var actions: [SignalAction]

    public init(actions: [SignalAction]) {
        self.actions = actions
    }
}

/// `struct k_sigaction`.
public struct SignalAction: Sendable, Hashable {
    /// SIG_DFL (0), SIG_IGN (1) or the handler's address.
    public var handler: UInt64
    /// SA_*.
    public var flags: UInt64
    public var restorer: VirtualAddress
    /// Bit n-1 is signal n.
    public var mask: UInt64

    public init(
        handler: UInt64 = 0, flags: UInt64 = 0, restorer: VirtualAddress = VirtualAddress(rawValue: 0), mask: UInt64 = 0
    ) {
        self.handler = handler
        self.flags = flags
        self.restorer = restorer
        self.mask = mask
    }
}

/// A queued signal (`struct sigqueue`), or a bit of `sigpending.signal` without a queue entry (then the reader makes the siginfo that the kernel
/// would give: si_signo, si_code SI_USER, zeros).
public struct PendingSignal: Sendable, Hashable {
    public var signal: Int32
    /// `kernel_siginfo` padded with zeros to the 128 bytes of `siginfo_t`.
    public var info: [UInt8]

    public init(signal: Int32, info: [UInt8]) {
        self.signal = signal
        self.info = info
    }
}

/// An alternate signal stack (`task->sas_ss_*`).
public struct AlternateStack: Sendable, Hashable {
    public var base: VirtualAddress
    public var size: UInt64
    /// SS_* as in `sas_ss_flags`.
    public var flags: UInt32

    public init(base: VirtualAddress, size: UInt64, flags: UInt32) {
        self.base = base
        self.size = size
        self.flags = flags
    }
}
