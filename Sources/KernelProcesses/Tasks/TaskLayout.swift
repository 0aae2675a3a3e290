import KernelTypes

/// The fields of `struct task_struct` (include/linux/sched.h) that a checkpoint needs.
struct TaskLayout: Sendable {
    let tasks: Field
    let threadNode: Field
    let pid: Field
    let tgid: Field
    let realParent: Field
    let comm: Field
    let flags: Field
    let state: Field
    let exitState: Field
    let exitCode: Field
    let exitSignal: Field
    let jobControl: Field
    let ptrace: Field
    let personality: Field
    let pdeathSignal: Field
    let atomicFlags: Field
    /// `struct syscall_user_dispatch`, since 5.11: of the calls that the kernel hands to the program itself.
    let dispatchSelector, dispatchLength: Field?
    let inExec: Field?
    let signal: Field
    let sighand: Field
    let blocked: Field
    let realBlocked: Field
    let savedSigmask: Field
    let restoreSigmask: Field?
    let pending: Field
    let alternateStackBase: Field
    let alternateStackSize: Field
    let alternateStackFlags: Field
    let mm: Field
    let files: Field
    let fs: Field
    let nsproxy: Field
    let threadPID: Field
    let cgroups: Field
    let credentials: Field
    let loginUID: Field?
    let robustList: Field?
    let rseq: Field?
    let rseqLength: Field?
    let rseqSignature: Field?
    /// What the task still has to do before it returns to user mode, among it the end of files that it has closed.
    let works: Field?
    let clearChildTID: Field
    let setChildTID: Field
    let policy: Field
    let resetsOnFork: Field?
    let staticPriority: Field
    let realtimePriority: Field
    let affinity: Field
    let timerSlack: Field
    let ioContext: Field?
    let ioPriority: Field?
    /// With CONFIG_NUMA.
    let memoryPolicy: Field?
    let seccompMode: Field?
    let restartFunction: Field
    let restartRemainder: Field
    let restartExpires: Field
    let restartFutexTime: Field?
    let restartPollSeconds: Field?
    let restartPollNanoseconds: Field?
    let onCPU: Field
    let cpu: Field
    let stack: Field
    let stackPointer: Field
    let fsBase: Field
    let gsBase: Field
    let fsIndex: Field
    let gsIndex: Field
    let ds: Field
    let es: Field
    let tls: Field
    /// Who may dump and trace the task, since 7.2; before, bits of the address space's flags.
    let dumpable: Field?
    let executionState: Field?

    init(_ types: TypeTable) throws(KernelError) {
        let task = try types.structure("task_struct")
        tasks = try task.field("tasks")
        threadNode = try task.field("thread_node")
        pid = try task.field("pid")
        tgid = try task.field("tgid")
        realParent = try task.field("real_parent")
        comm = try task.field("comm")
        flags = try task.field("flags")
        state = try task.field(anyOf: "__state", "state")
        exitState = try task.field("exit_state")
        exitCode = try task.field("exit_code")
        exitSignal = try task.field("exit_signal")
        jobControl = try task.field("jobctl")
        ptrace = try task.field("ptrace")
        personality = try task.field("personality")
        pdeathSignal = try task.field("pdeath_signal")
        // An atomic flag since 3.17 (commit 1d4457f99928), PFA_NO_NEW_PRIVS is bit 0.
        atomicFlags = try task.field("atomic_flags")
        dispatchSelector = task.optional("syscall_dispatch.selector")
        dispatchLength = task.optional("syscall_dispatch.len")
        inExec = task.optional("in_execve")
        signal = try task.field("signal")
        sighand = try task.field("sighand")
        blocked = try task.field("blocked")
        realBlocked = try task.field("real_blocked")
        savedSigmask = try task.field("saved_sigmask")
        restoreSigmask = task.optional("restore_sigmask")
        pending = try task.field("pending")
        alternateStackBase = try task.field("sas_ss_sp")
        alternateStackSize = try task.field("sas_ss_size")
        alternateStackFlags = try task.field("sas_ss_flags")
        mm = try task.field("mm")
        files = try task.field("files")
        fs = try task.field("fs")
        nsproxy = try task.field("nsproxy")
        threadPID = try task.field("thread_pid")
        cgroups = try task.field("cgroups")
        credentials = try task.field("cred")
        loginUID = task.optional("loginuid")
        // Embedded since 7.1, as all that belongs to futexes.
        robustList = task.optional("futex.robust_list") ?? task.optional("robust_list")
        rseq = task.optional("rseq.usrptr") ?? task.optional("rseq")
        rseqLength = task.optional("rseq.len") ?? task.optional("rseq_len")
        rseqSignature = task.optional("rseq.sig") ?? task.optional("rseq_sig")
        works = task.optional("task_works")
        clearChildTID = try task.field("clear_child_tid")
        setChildTID = try task.field("set_child_tid")
        policy = try task.field("policy")
        resetsOnFork = task.optional("sched_reset_on_fork")
        staticPriority = try task.field("static_prio")
        realtimePriority = try task.field("rt_priority")
        affinity = try task.field("cpus_mask")
        timerSlack = try task.field("timer_slack_ns")
        ioContext = task.optional("io_context")
        ioPriority = (try? types.structure("io_context"))?.optional("ioprio")
        memoryPolicy = task.optional("mempolicy")
        seccompMode = task.optional("seccomp.mode")
        restartFunction = try task.field("restart_block.fn")
        restartRemainder = try task.field("restart_block.nanosleep.rmtp")
        restartExpires = try task.field("restart_block.nanosleep.expires")
        restartFutexTime = task.optional("restart_block.futex.time")
        restartPollSeconds = task.optional("restart_block.poll.tv_sec") ?? task.optional("restart_block.poll.end_time.tv_sec")
        restartPollNanoseconds =
            task.optional("restart_block.poll.tv_nsec") ?? task.optional("restart_block.poll.end_time.tv_nsec")
        onCPU = try task.field("on_cpu")
        // In thread_info since 5.16 (commit bcf9033e5449).
        cpu = try task.field(anyOf: "thread_info.cpu", "cpu")
        stack = try task.field("stack")
        stackPointer = try task.field("thread.sp")
        fsBase = try task.field("thread.fsbase")
        gsBase = try task.field("thread.gsbase")
        fsIndex = try task.field("thread.fsindex")
        gsIndex = try task.field("thread.gsindex")
        ds = try task.field("thread.ds")
        es = try task.field("thread.es")
        tls = try task.field("thread.tls_array")
        executionState = task.optional("exec_state")
        dumpable = (try? types.structure("task_exec_state"))?.optional("dumpable")
    }
}
