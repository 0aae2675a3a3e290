import GuestMemory

/// One thread: the parts of `struct task_struct` that belong to it alone.
public struct DeadThread: Sendable {
    /// `task->pid` in the guest's initial pid namespace; the leader's is the process's pid.
    public var tid: Int32
    public var command: KernelString
    /// User registers as they are in `pt_regs` at the top of the kernel stack (or in the vCPU, when it was in user mode). The checkpoint room puts
    /// them into their restarted form.
    public var registers: GeneralRegisters
    /// nil: could not be read, which refuses the process.
    public var floatingPoint: FloatingPointState?
    /// What is known about the system call that the thread is in, beyond its registers.
    public var interruptedCall: InterruptedCall
    public var credentials: Credentials
    /// The mask to have after the call: `saved_sigmask` while `restore_sigmask` is set (ppoll, pselect, sigsuspend, epoll_pwait), `real_blocked`
    /// while it is not empty (sigtimedwait), else `blocked`.
    public var signalMask: UInt64
    /// `task->pending`.
    public var pendingSignals: [PendingSignal]
    /// nil: none registered.
    public var alternateStack: AlternateStack?
    /// `task->robust_list`; 0: none.
    public var robustList: VirtualAddress
    /// nil: not registered.
    public var rseq: RseqRegistration?
    /// `task->clear_child_tid`; 0: none.
    public var clearChildTID: VirtualAddress
    /// nil: nothing is left to write.
    public var unwrittenThreadID: UnwrittenThreadID?
    /// `task->pdeath_signal`; 0: none.
    public var parentDeathSignal: Int32
    public var scheduling: Scheduling
    /// `thread.tls_array`, the three GDT entries as 8-byte descriptors; all zero on 64-bit programs.
    public var tlsDescriptors: [UInt64]
    public var seccomp: Seccomp
    /// prctl(PR_SET_SPECULATION_CTRL)
    public var speculation: Speculation = []
    /// prctl(PR_SET_SYSCALL_USER_DISPATCH)
    public var dispatchesCalls = false
    public var keyrings: Keyrings = []
    /// ioperm(2) or iopl(2)
    public var hasPortPermissions = false
    /// prctl(PR_MCE_KILL)
    public var hasMemoryErrorPolicy = false
    /// prctl(PR_SET_IO_FLUSHER)
    public var isFlusher = false

    /// What a thread has forbidden its processor (PFA_SPEC_* of include/linux/sched.h).
    public struct Speculation: OptionSet, Sendable, Hashable {
        public let rawValue: UInt8

        public init(rawValue: UInt8) { self.rawValue = rawValue }

        public static let storeBypassDisabled = Speculation(rawValue: 1)
        public static let storeBypassForceDisabled = Speculation(rawValue: 2)
        public static let indirectBranchDisabled = Speculation(rawValue: 4)
        public static let indirectBranchForceDisabled = Speculation(rawValue: 8)
        public static let storeBypassDisabledUntilExec = Speculation(rawValue: 16)
    }

    public init(tid: Int32, command: KernelString, registers: GeneralRegisters) {
        self.tid = tid
        self.command = command
        self.registers = registers
        self.floatingPoint = nil
        self.interruptedCall = InterruptedCall()
        self.credentials = Credentials()
        self.signalMask = 0
        self.pendingSignals = []
        self.alternateStack = nil
        self.robustList = VirtualAddress(rawValue: 0)
        self.rseq = nil
        self.clearChildTID = VirtualAddress(rawValue: 0)
        self.parentDeathSignal = 0
        self.scheduling = Scheduling()
        self.tlsDescriptors = []
        self.seccomp = .off
    }
}

/// A registered restartable sequence (`task->rseq*`).
public struct RseqRegistration: Sendable, Hashable {
    public var address: VirtualAddress
    /// `rseq_len`.
    public var size: UInt32
    /// `rseq_sig`.
    public var signature: UInt32
    /// `rseq->rseq_cs` in user memory: the critical section that the thread announced; 0 or nil: none.
    public var criticalSection: VirtualAddress?

    public init(address: VirtualAddress, size: UInt32, signature: UInt32, criticalSection: VirtualAddress? = nil) {
        self.address = address
        self.size = size
        self.signature = signature
        self.criticalSection = criticalSection
    }
}

/// The number of a thread that has not run yet, and where in its memory the kernel would write it when it first runs (`task->set_child_tid`).
public struct UnwrittenThreadID: Sendable, Hashable {
    public var address: VirtualAddress
    /// In the thread's own pid namespace.
    public var number: UInt32

    public init(address: VirtualAddress, number: UInt32) {
        self.address = address
        self.number = number
    }
}

/// How the scheduler treats a thread.
public struct Scheduling: Sendable, Hashable {
    /// SCHED_* (`task->policy`).
    public var policy: UInt32 = 0
    /// -20 … 19 (`static_prio` - 120).
    public var nice: Int32 = 0
    /// `rt_priority`, 1 … 99 for SCHED_FIFO and SCHED_RR.
    public var realtimePriority: UInt32 = 0
    /// `cpus_mask`, lowest CPU in bit 0 of the first word; empty: not read.
    public var affinity: [UInt64] = []
    /// The number of bits of `affinity` that mean a CPU (`nr_cpu_ids`).
    public var possibleCPUs: UInt32 = 0
    /// SCHED_RESET_ON_FORK: what it starts begins with the usual policy.
    public var resetsOnFork = false
    /// `timer_slack_ns`.
    public var timerSlackNanoseconds: UInt64 = 50_000
    /// `io_context->ioprio`: the class (IOPRIO_CLASS_*) in bits 13 to 15, the level below; 0: none set.
    public var ioPriority: UInt16 = 0
    /// `task->mempolicy`: set_mempolicy(2) was called.
    public var hasMemoryPolicy = false
    /// `task->core_cookie`: prctl(PR_SCHED_CORE) was called, here or in a parent.
    public var hasCoreCookie = false
    /// `task->uclamp_req` is the user's: sched_setattr(2) with SCHED_FLAG_UTIL_CLAMP.
    public var hasUtilizationClamps = false

    public init() {}
}

/// What the kernel knows about the system call in which a thread was caught, beyond the user registers.
public struct InterruptedCall: Sendable, Hashable {
    /// What `restart_block.fn` points at.
    public enum RestartFunction: Sendable, Hashable {
        /// `hrtimer_nanosleep_restart`; `rmtp` is `restart_block.nanosleep.rmtp` (0: none).
        case nanosleep(remainderAddress: VirtualAddress)
        /// `do_restart_poll`.
        case poll
        /// `futex_wait_restart`.
        case futex
        /// Another function, by its kernel symbol.
        case other(String)
    }

    /// Time left at the crash until the call's own timer fires: from the `hrtimer_sleeper` whose `task` is this thread, or from the restart
    /// block's expiry when the call was already interrupted. 0: due. nil: no timer, or not read.
    public var remainingNanoseconds: UInt64?
    /// Only looked at when ax is -ERESTART_RESTARTBLOCK (-516) or orig_ax is restart_syscall (219).
    public var restartFunction: RestartFunction?
    /// Where in the call the thread was.
    public enum Stage: Sendable, Hashable {
        /// It waited for something, and so had left the CPU of its own will.
        case asleep
        /// What it waited for has come, and it has not run since.
        case woken
        /// It had to leave the CPU in the middle of the kernel's work.
        case preempted
        case onCPU
    }

    /// Bytes that a read, write, send or receive had moved (from the `iov_iter` on the kernel stack) and would move once more if it were made
    /// again: 0 also for a call that does the same the second time. nil: not known.
    public var transferredBytes: UInt64?
    /// How far a call had come that has its effect at one moment, and would fail or do more the second time.
    public enum Progress: Sendable, Hashable {
        /// It has changed nothing yet.
        case pending
        /// It has done its work.
        case complete(result: UInt64)
        /// open with O_EXCL: the file has been made, and the descriptor has not.
        case fileCreated
        /// It may have done its work.
        case uncertain
    }

    /// nil: the call is not of this kind.
    public var progress: Progress?
    /// Files that the thread is about to open, or to close, for writing: they are open, and no descriptor leads to them.
    public var filesInHand: Set<InodeIdentity> = []
    /// The thread was current on the CPU that panicked: its call must not be made again.
    public var causedPanic: Bool
    public var stage = Stage.onCPU
    public var isAsleep: Bool { stage == .asleep }

    public init(
        remainingNanoseconds: UInt64? = nil, restartFunction: RestartFunction? = nil, transferredBytes: UInt64? = nil,
        causedPanic: Bool = false
    ) {
        self.remainingNanoseconds = remainingNanoseconds
        self.restartFunction = restartFunction
        self.transferredBytes = transferredBytes
        self.causedPanic = causedPanic
    }
}
