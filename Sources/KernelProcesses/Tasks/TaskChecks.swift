import GuestMemory
import KernelObjects
import KernelTypes
import ProcessModel

/// What the kernel keeps twice of a task, or promises of it: damage to one copy shows against the other.
///
/// A field that a kernel lacks takes its check with it, never the salvage.
struct TaskChecksLayout: Sendable {
    let groupLeader, parent, siblings, realCredentials: Field?
    let normalPriority, allowedCPUCount: Field?
    let threadCount: Field?
    /// `struct sighand_struct.count`, `struct signal_struct.sigcnt`.
    let actionUsers, signalUsers: Field?
    let credentialUser, userID: Field?

    init(_ types: TypeTable) {
        let task = try? types.structure("task_struct")
        groupLeader = task?.optional("group_leader")
        parent = task?.optional("parent")
        siblings = task?.optional("sibling")
        realCredentials = task?.optional("real_cred")
        normalPriority = task?.optional("normal_prio")
        allowedCPUCount = task?.optional("nr_cpus_allowed")
        let signal = try? types.structure("signal_struct")
        threadCount = signal?.optional("nr_threads")
        signalUsers = signal?.optional("sigcnt")
        actionUsers = (try? types.structure("sighand_struct"))?.optional("count")
        credentialUser = (try? types.structure("cred"))?.optional("user")
        userID = (try? types.structure("user_struct"))?.optional("uid")
    }
}

extension DeadKernel {
    /// STACK_END_MAGIC (include/uapi/linux/magic.h), which every task's stack ends with (`set_task_stack_end_magic`).
    private static let stackEnd: UInt64 = 0x57AC_6E9D
    /// SIGKILL and SIGSTOP, which no set of blocked signals has (`sigdelsetmask` in kernel/signal.c).
    static let unblockable: UInt64 = 1 << 8 | 1 << 18
    /// The most members of a process group or session that are looked through.
    private static let memberLimit = 1 << 16

    /// Contradictions of one process that are told; more tell nothing more.
    private static let contradictionLimit = 8

    /// Notes a contradiction where the condition does not hold. The process is read on, so that all of them are told, and is refused.
    func require(_ condition: Bool, _ what: @autoclosure () -> String, at address: VirtualAddress) {
        guard !condition, contradictions.count < Self.contradictionLimit else { return }
        contradictions.append(MemoryFault(.damaged(what()), at: address))
    }

    /// The processes of a process group or session, looked up once: each of a thousand members asks.
    private func members(of pid: VirtualAddress, _ type: Int) throws(MemoryFault) -> Set<TaskAddress> {
        let head = pid + layout.pidTasks.element(type).offset
        if let known = pidMembers[head] { return known }
        var members: Set<TaskAddress> = []
        let fault = reader.forEach(
            onHashList: head, link: layout.taskPIDLinks.element(type), limit: Self.memberLimit
        ) { members.insert($0) }
        if let fault { throw fault }
        pidMembers[head] = members
        return members
    }

    /// What holds for every task that was not yet released, a zombie too.
    func check(leader: TaskAddress, signal: VirtualAddress) throws(MemoryFault) {
        let fields = layout.task
        if let group = layout.taskChecks.groupLeader {
            require(try reader.pointer(group, of: leader) == leader, "leader of another thread group", at: leader)
        }
        require(
            try reader.int32(fields.pid, of: leader) == reader.int32(fields.tgid, of: leader),
            "leader whose pid is not its thread group's", at: leader)
        if let siblings = layout.taskChecks.siblings {
            let link = leader + siblings.offset
            let next = try reader.memory.pointer(at: link)
            let previous = try reader.memory.pointer(at: link + 8)
            let isLinked = [try reader.memory.pointer(at: next + 8), try reader.memory.pointer(at: previous)] == [link, link]
            require(isLinked, "its brothers do not know it", at: leader)
        }
        if let parent = layout.taskChecks.parent, try reader.value(fields.ptrace, of: leader) == 0 {
            require(
                try reader.pointer(parent, of: leader) == reader.pointer(fields.realParent, of: leader), "two parents",
                at: leader)
        }
        try checkIdentity(of: leader)
        for (type, what) in [(SignalLayout.PIDType.processGroup, "process group"), (SignalLayout.PIDType.session, "session")] {
            let id = try reader.pointer(layout.signal.pids.element(type), of: signal)
            if id.isNull { continue }
            try require(members(of: id, type).contains(leader), "\(what) that does not know it", at: leader)
        }
        // copy_process counts each thread up, __unhash_process down; both change the list as well.
        if let count = layout.taskChecks.threadCount {
            var threads = 0
            let fault = reader.forEach(
                onList: signal + layout.signal.threadHead.offset, link: fields.threadNode, limit: Self.taskLimit
            ) { _ in threads += 1 }
            if let fault { throw fault }
            let promised = Int(try reader.int32(count, of: signal))
            require(threads == promised, "\(threads) threads where the kernel counts \(promised)", at: signal)
            if let users = layout.taskChecks.signalUsers {
                require(Int(try reader.int32(users, of: signal)) >= threads, "thread group without users", at: signal)
            }
        }
        try checkLimits(of: signal)
    }

    /// `task_struct.pid` is a copy of the number in `struct pid`, which points back to the task (kernel/pid.c, attach_pid).
    private func checkIdentity(of task: TaskAddress) throws(MemoryFault) {
        let id = try reader.pointer(layout.task.threadPID, of: task)
        require(
            try pid(ofStructPID: id) == reader.int32(layout.task.pid, of: task), "pid unlike that of its struct pid", at: task)
        require(
            try reader.memory.pointer(at: id + layout.pidTasks.element(0).offset)
                == task + layout.taskPIDLinks.element(0).offset, "struct pid of another task", at: id)
    }

    /// do_prlimit lets no limit be above its maximum.
    private func checkLimits(of signal: VirtualAddress) throws(MemoryFault) {
        for index in 0..<min(layout.signal.resourceLimits.count, 16) {
            let limit = signal + layout.signal.resourceLimits.element(index).offset
            let current = try reader.memory.integer(at: limit, as: UInt64.self)
            let maximum = try reader.memory.integer(at: limit + 8, as: UInt64.self)
            require(current <= maximum, "resource limit \(index) above its maximum", at: limit)
        }
    }

    /// What threads of one process share by definition (CLONE_THREAD), and what is kept twice of each of them.
    func check(_ task: TaskAddress, of leader: TaskAddress) throws(MemoryFault) {
        let fields = layout.task
        if let group = layout.taskChecks.groupLeader {
            require(try reader.pointer(group, of: task) == leader, "thread of another process", at: task)
        }
        require(
            try reader.value(fields.tgid, of: task) == reader.value(fields.tgid, of: leader), "thread of another process",
            at: task)
        if task != leader { try checkIdentity(of: task) }
        if try reader.value(fields.flags, of: task) & Self.exiting == 0 {
            for (field, what) in [(fields.signal, "signals"), (fields.sighand, "signal actions"), (fields.mm, "memory")] {
                require(
                    try reader.pointer(field, of: task) == reader.pointer(field, of: leader), "thread with other \(what)",
                    at: task)
            }
        }
        let stack = try reader.pointer(fields.stack, of: task)
        require(
            try reader.memory.integer(at: stack, as: UInt64.self) == Self.stackEnd, "kernel stack without its end mark",
            at: stack)
        if try cpuNumber(of: task) == nil {
            let pointer = try reader.pointer(fields.stackPointer, of: task)
            require(
                pointer >= stack && pointer < stack + stackSize, "stack pointer outside of the kernel stack", at: task)
        }
        try checkScheduling(of: task)
        for field in [fields.blocked, fields.realBlocked] {
            require(
                try reader.memory.integer(at: task + field.offset, as: UInt64.self) & Self.unblockable == 0,
                "blocks signals that cannot be blocked", at: task)
        }
        try checkUserAddresses(of: task)
        try checkCredentials(of: task)
    }

    /// normal_prio follows from the policy (`__normal_prio`, kernel/sched/core.c), nr_cpus_allowed from cpus_mask.
    private func checkScheduling(of task: TaskAddress) throws(MemoryFault) {
        let fields = layout.task
        let policy = try reader.uint32(fields.policy, of: task)
        let nice = try reader.int32(fields.staticPriority, of: task)
        let realtime = try reader.int32(fields.realtimePriority, of: task)
        require((100..<140).contains(nice) && (0..<100).contains(realtime), "priorities \(nice) and \(realtime)", at: task)
        // SCHED_FIFO and SCHED_RR; SCHED_DEADLINE is 6, and 7 is SCHED_EXT.
        let isRealtime = policy == 1 || policy == 2
        require(
            [0, 1, 2, 3, 5, 6, 7].contains(policy) && isRealtime == (realtime > 0), "scheduling policy \(policy)", at: task)
        if let normal = layout.taskChecks.normalPriority, policy != 6 {
            let promised = isRealtime ? 99 - realtime : nice
            require(try reader.int32(normal, of: task) == promised, "priority unlike its policy's", at: task)
        }
        if let count = layout.taskChecks.allowedCPUCount, try possibleCPUs() > 0 {
            let mask = try cpuMask(at: task + fields.affinity.offset, limit: fields.affinity.size)
            let allowed = mask.reduce(0) { $0 + $1.nonzeroBitCount }
            require(
                Int(try reader.int32(count, of: task)) == allowed, "\(allowed) allowed CPUs unlike the kernel's count", at: task
            )
        }
    }

    /// Addresses that the kernel took from the program and checked: none of them is the kernel's.
    private func checkUserAddresses(of task: TaskAddress) throws(MemoryFault) {
        let fields = layout.task
        var addresses = [fields.alternateStackBase, fields.clearChildTID, fields.fsBase]
        if let field = fields.robustList { addresses.append(field) }
        if let field = fields.rseq { addresses.append(field) }
        for field in addresses {
            require(
                try reader.value(field, of: task) >> 56 == 0, "an address of the program that no program can have", at: task)
        }
        let size = try reader.value(fields.alternateStackSize, of: task)
        // MINSIGSTKSZ; SS_ONSTACK, SS_DISABLE and SS_AUTODISARM are the flags that exist.
        require(size == 0 || (2048...1 << 47).contains(size), "alternate stack of \(size) bytes", at: task)
        require(
            try reader.uint32(fields.alternateStackFlags, of: task) & ~0x8000_0003 == 0, "flags of an alternate stack", at: task
        )
        require((0...64).contains(try reader.int32(fields.pdeathSignal, of: task)), "signal for a parent's death", at: task)
    }

    /// Capabilities that are in effect are permitted (cap_capset), ambient ones are permitted and inheritable (cap_ambient_invariant_ok);
    /// groups are sorted (groups_sort); `cred.user` is the account of `cred.uid` (set_user).
    private func checkCredentials(of task: TaskAddress) throws(MemoryFault) {
        let cred = try credentialsAddress(of: task)
        let fields = layout.credentials
        func capabilities(_ field: Field) throws(MemoryFault) -> UInt64 { try reader.memory.integer(at: cred + field.offset) }
        let permitted = try capabilities(fields.permitted)
        require(try capabilities(fields.effective) & ~permitted == 0, "capabilities in effect but not permitted", at: cred)
        require(
            try capabilities(fields.ambient) & ~(permitted & capabilities(fields.inheritable)) == 0,
            "ambient capabilities that are not permitted", at: cred)
        if let user = layout.taskChecks.credentialUser, let id = layout.taskChecks.userID {
            require(
                try reader.uint32(id, of: reader.pointer(user, of: cred)) == reader.uint32(fields.uid, of: cred),
                "user id unlike its account's", at: cred)
        }
        require(
            try ownCredentials(of: task) != nil,
            "it was using other credentials than its own (a call in a file system, or damage)",
            at: task)
        let info = try reader.pointer(fields.groupInfo, of: cred)
        let count = min(max(try reader.int32(fields.groupCount, of: info), 0), 65_536)
        var last: UInt32 = 0
        for index in 0..<Int(count) {
            let group = try reader.memory.integer(at: info + fields.groupIDs.offset + index * 4, as: UInt32.self)
            require(group >= last, "groups that are not sorted", at: info)
            last = group
        }
    }

    /// Actions as do_sigaction leaves them.
    func check(_ actions: SignalActions, at sighand: VirtualAddress, users: Int) throws(MemoryFault) {
        // SA_NOCLDSTOP, NOCLDWAIT, SIGINFO, EXPOSE_TAGBITS, IMMUTABLE, RESTORER, ONSTACK, RESTART, NODEFER, RESETHAND.
        let known: UInt64 = 0xdc80_0807
        for action in actions.actions {
            require(action.mask & Self.unblockable == 0, "a handler that blocks what cannot be blocked", at: sighand)
            // Programs see the other bits cleared since 5.11 (commit 23acdc76f1798), and older kernels keep what a program gave.
            require(action.flags & ~known & ~0xffff_ffff == 0, "flags of a signal's action", at: sighand)
            require(action.handler >> 56 == 0 && action.restorer.rawValue >> 56 == 0, "handler in the kernel", at: sighand)
            // x86-64 delivers no signal to a handler without a restorer (setup_rt_frame).
            require(action.handler <= 1 || action.flags & 0x400_0000 != 0, "handler without a restorer", at: sighand)
        }
        if let count = layout.taskChecks.actionUsers {
            let promised = Int(try reader.int32(count, of: sighand))
            require(users <= promised, "\(users) users where the kernel counts \(promised)", at: sighand)
        }
    }

    /// Registers as an x86-64 program in user mode has them (arch/x86/include/asm/segment.h; Intel SDM volume 1, 3.4.3).
    func check(_ registers: GeneralRegisters, of task: TaskAddress) {
        require([0x33, 0x23].contains(registers.cs) && registers.ss == 0x2b, "segments of no user program", at: task)
        // Bit 1 is always set, 3, 5, 15 and those above 21 never; interrupts are enabled, IOPL is 0, no VM86.
        require(
            registers.flags & 2 != 0 && registers.flags & ~0x25_4fd7 == 0 && registers.flags & 0x200 != 0,
            "flags of no user program",
            at: task)
        require([0, 0x2b, 0x23].contains(registers.ds) && [0, 0x2b, 0x23].contains(registers.es), "data segments", at: task)
    }
}
