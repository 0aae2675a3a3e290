/// One thread group of the dead kernel: `struct task_struct` of its leader and `struct signal_struct`.
///
/// Process ids are those of the guest's initial pid namespace. A zombie has no address space, descriptors or threads.
public struct DeadProcess: Sendable {
    public enum State: Sendable, Hashable {
        case running
        /// By a job-control signal (`SIGNAL_STOP_STOPPED`); the signal that stopped it, SIGSTOP when unknown.
        case stopped(signal: Int32)
        /// Dead, not yet waited for; the code as `wait4` reports it (`task->exit_code`).
        case zombie(exitCode: Int32)
    }

    public var pid: Int32
    /// `real_parent->tgid`.
    public var parentPID: Int32
    /// `signal->pids[PIDTYPE_PGID]`.
    public var processGroupID: Int32
    /// `signal->pids[PIDTYPE_SID]`.
    public var sessionID: Int32
    public var state: State
    /// `leader->comm`.
    public var command: KernelString
    /// `leader->exit_signal`: what the parent gets when it dies; SIGCHLD unless cloned otherwise.
    public var exitSignal: Int32
    /// `leader->personality`.
    public var personality: UInt32
    /// `leader->flags` (PF_*).
    public var flags: UInt32
    /// `signal->is_child_subreaper`.
    public var isChildSubreaper: Bool
    /// `signal->oom_score_adj`, -1000 … 1000.
    public var oomScoreAdjustment: Int32
    /// `leader->loginuid`; nil: not set or not built in.
    public var loginUID: UInt32?
    /// Path in the unified hierarchy of the process's own cgroup, at or below the group's.
    public var cgroupPath: KernelString
    public var namespaces: Namespaces
    /// `signal->rlim`, indexed by RLIMIT_*; 16 on x86-64.
    public var resourceLimits: [ResourceLimit]
    /// ITIMER_REAL, ITIMER_VIRTUAL, ITIMER_PROF.
    public var intervalTimers: IntervalTimers
    /// `signal->posix_timers`.
    public var posixTimers: [PosixTimer]
    /// `signal->shared_pending`.
    public var pendingSignals: [PendingSignal]
    /// Controlling terminal (`signal->tty`); nil: none.
    public var controllingTerminal: TerminalID?

    public var addressSpace: AddressSpaceID?
    public var descriptorTable: DescriptorTableID?
    public var filesystemContext: FilesystemContextID?
    public var signalActions: SignalActionsID?

    /// The leader first. Empty for a zombie.
    public var threads: [DeadThread]

    public init(pid: Int32, parentPID: Int32, processGroupID: Int32, sessionID: Int32, state: State, command: KernelString) {
        self.pid = pid
        self.parentPID = parentPID
        self.processGroupID = processGroupID
        self.sessionID = sessionID
        self.state = state
        self.command = command
        self.exitSignal = 17
        self.personality = 0
        self.flags = 0
        self.isChildSubreaper = false
        self.oomScoreAdjustment = 0
        self.loginUID = nil
        self.cgroupPath = ""
        self.namespaces = Namespaces()
        self.resourceLimits = []
        self.intervalTimers = IntervalTimers()
        self.posixTimers = []
        self.pendingSignals = []
        self.controllingTerminal = nil
        self.threads = []
    }
}

/// `struct rlimit`; `UInt64.max` is RLIM_INFINITY.
public struct ResourceLimit: Sendable, Hashable {
    public var current: UInt64
    public var maximum: UInt64

    public init(current: UInt64, maximum: UInt64) {
        self.current = current
        self.maximum = maximum
    }
}

/// `struct cred` of one thread.
public struct Credentials: Sendable, Hashable {
    public var uid: UInt32 = 0
    public var gid: UInt32 = 0
    public var effectiveUID: UInt32 = 0
    public var effectiveGID: UInt32 = 0
    public var savedUID: UInt32 = 0
    public var savedGID: UInt32 = 0
    public var filesystemUID: UInt32 = 0
    public var filesystemGID: UInt32 = 0
    /// Capability sets, bit n is CAP_n (`kernel_cap_t`: two 32-bit words up to 6.2, one u64 since f122a08b197d).
    public var inheritable: UInt64 = 0
    public var permitted: UInt64 = 0
    public var effective: UInt64 = 0
    public var bounding: UInt64 = 0
    public var ambient: UInt64 = 0
    /// SECBIT_*.
    public var secureBits: UInt32 = 0
    /// Supplementary groups.
    public var groups: [UInt32] = []
    /// `task->no_new_privs`.
    public var noNewPrivileges = false
    /// The module for security that confines it (AppArmor, SELinux, Landlock); nil: none does.
    public var confinement: String?

    public init() {}
}

/// `struct fs_struct`.
public struct FilesystemContext: Sendable, Hashable {
    public var workingDirectory: FileNode
    public var root: FileNode
    public var umask: UInt32

    public init(workingDirectory: FileNode, root: FileNode, umask: UInt32) {
        self.workingDirectory = workingDirectory
        self.root = root
        self.umask = umask
    }
}
