import KernelTypes

/// `struct signal_struct`, what all threads of a process share (include/linux/sched/signal.h), and `struct sighand_struct`.
struct SignalLayout: Sendable {
    let threadHead: Field
    let pids: Field
    let flags: Field
    /// Threads that have yet to stop (`group_stop_count`).
    let stopCount: Field
    let sharedPending: Field
    let resourceLimits: Field
    let isChildSubreaper: Field
    let oomScoreAdjustment: Field
    let realTimer: Field
    let realInterval: Field
    let cpuTimers: Field
    let cpuTimerExpires: Field
    let cpuTimerInterval: Field
    /// `struct task_cputime_atomic`: the processor time of the thread group while one of its timers counts it.
    let groupUserTime, groupSystemTime, groupRunTime: Field
    let posixTimers: Field
    let tty: Field

    let pendingList: Field
    let pendingSet: Field
    let queueList: Field
    let queueInfo: Field

    let actions: Field
    let actionHandler: Field
    let actionFlags: Field
    let actionRestorer: Field
    let actionMask: Field

    let pidNumbers: Field
    let pidLevel: Field
    let pidNumber: Field
    let pidNamespace: Field
    let pidNumberSize: Int

    init(_ types: TypeTable) throws(KernelError) {
        let signal = try types.structure("signal_struct")
        threadHead = try signal.field("thread_head")
        pids = try signal.field("pids")
        flags = try signal.field("flags")
        stopCount = try signal.field("group_stop_count")
        sharedPending = try signal.field("shared_pending")
        resourceLimits = try signal.field("rlim")
        isChildSubreaper = try signal.field("is_child_subreaper")
        oomScoreAdjustment = try signal.field("oom_score_adj")
        realTimer = try signal.field("real_timer")
        realInterval = try signal.field("it_real_incr")
        cpuTimers = try signal.field("it")
        let cpuTimer = try types.structure("cpu_itimer")
        cpuTimerExpires = try cpuTimer.field("expires")
        cpuTimerInterval = try cpuTimer.field("incr")
        groupUserTime = try signal.field("cputimer.cputime_atomic.utime")
        groupSystemTime = try signal.field("cputimer.cputime_atomic.stime")
        groupRunTime = try signal.field("cputimer.cputime_atomic.sum_exec_runtime")
        posixTimers = try signal.field("posix_timers")
        tty = try signal.field("tty")

        let pending = try types.structure("sigpending")
        pendingList = try pending.field("list")
        pendingSet = try pending.field("signal")
        let queue = try types.structure("sigqueue")
        queueList = try queue.field("list")
        queueInfo = try queue.field("info")

        actions = try types.structure("sighand_struct").field("action")
        let action = try types.structure("k_sigaction")
        actionHandler = try action.field("sa.sa_handler")
        actionFlags = try action.field("sa.sa_flags")
        actionRestorer = try action.field("sa.sa_restorer")
        actionMask = try action.field("sa.sa_mask")

        let pid = try types.structure("pid")
        pidNumbers = try pid.field("numbers")
        pidLevel = try pid.field("level")
        let upid = try types.structure("upid")
        pidNumber = try upid.field("nr")
        pidNamespace = try upid.field("ns")
        pidNumberSize = upid.size
    }

    /// `enum pid_type` (include/linux/pid_types.h).
    enum PIDType {
        static let processGroup = 2
        static let session = 3
    }
}
