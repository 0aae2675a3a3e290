import GuestMemory
import KernelObjects
import ProcessModel

extension DeadKernel {
    /// Where a call in progress that waits for the end of a vfork is (kernel/sched/completion.c, by its name before and since 6.1).
    static let vforkWaits = ["wait_for_completion_state", "wait_for_completion_killable"]

    /// How far the call of a thread has come that does something once.
    /// - Returns: nil for calls of other kinds.
    func progress(
        of task: TaskAddress, registers: GeneralRegisters, stage: InterruptedCall.Stage
    ) throws(MemoryFault) -> InterruptedCall.Progress? {
        switch registers.origAX {
        // close: the descriptor is taken out of the table first (close_fd, fs/file.c).
        case 3:
            return try file(ofDescriptor: registers.di, of: task) == nil ? .complete(result: 0) : .pending
        // clone, fork, vfork, clone3
        case 56, 57, 58, 435: return try startProgress(of: task)
        default: return try namingProgress(of: task, registers: registers, stage: stage)
        }
    }

    /// TASK_NEW (include/linux/sched.h).
    private static let newTask: UInt64 = 0x800

    /// How far a call has come that starts a process or a thread. What it starts is on its kernel stack, and is its child or of its process.
    ///
    /// Until it is woken it is new (kernel_clone, kernel/fork.c), and a call that has begun to wait for a vfork's end has started it. A child of an earlier call,
    /// whose address may still be on the stack, is neither.
    private func startProgress(of task: TaskAddress) throws(MemoryFault) -> InterruptedCall.Progress {
        guard let held = try heldAddresses(of: task) else { return .uncertain }
        let isWaiting = isInside(held, functions: Self.vforkWaits)
        let process = try reader.pointer(layout.task.signal, of: task)
        var started: Set<TaskAddress> = []
        for word in held where word != task {
            // Whatever a word on the stack leads to is no fault of the kernel's.
            guard let parent = try? reader.pointer(layout.task.realParent, of: word),
                let itsProcess = try? reader.pointer(layout.task.signal, of: word), parent == task || itsProcess == process,
                let state = try? reader.value(layout.task.state, of: word), isWaiting || state == Self.newTask
            else { continue }
            started.insert(word)
        }
        guard let child = started.first else { return isWaiting ? .uncertain : .pending }
        guard started.count == 1, let number = try number(of: child, seenBy: task) else { return .uncertain }
        return .complete(result: UInt64(number))
    }

    /// The number of a task in the pid namespace of another.
    func number(of task: TaskAddress, seenBy other: TaskAddress) throws(MemoryFault) -> UInt32? {
        let fields = layout.signal
        let level = try reader.uint32(fields.pidLevel, of: reader.pointer(layout.task.threadPID, of: other))
        let pid = try reader.pointer(layout.task.threadPID, of: task)
        // MAX_PID_NS_LEVEL is 32.
        guard level <= 32, try reader.uint32(fields.pidLevel, of: pid) >= level else { return nil }
        let entry = pid + fields.pidNumbers.offset + Int(level) * fields.pidNumberSize
        let number = try reader.uint32(fields.pidNumber, of: entry)
        return number > 0 ? number : nil
    }

    /// What closes a file that has no descriptor any more, on the way out of the call that took it (fs/file_table.c).
    static let closingFunctions = ["__fput", "task_work_run"]
    /// open, close, creat, dup2, openat, dup3, close_range, openat2.
    private static let opensOrCloses: Set<UInt64> = [2, 3, 85, 33, 257, 292, 436, 437]
    /// FMODE_WRITE (include/linux/fs.h).
    private static let writable: UInt64 = 2

    /// Files that a thread has open for writing without a descriptor.
    func filesInHand(of task: TaskAddress, registers: GeneralRegisters) throws(MemoryFault) -> Set<InodeIdentity> {
        guard registers.origAX != .max else { return [] }
        var candidates = try endingFiles(of: task)
        if let held = try heldAddresses(of: task),
            Self.opensOrCloses.contains(registers.origAX) || isInside(held, functions: Self.closingFunctions)
        {
            candidates += held
        }
        let files = layout.files
        var found: Set<InodeIdentity> = []
        for file in candidates where file.rawValue % 8 == 0 {
            // Whatever a word on the stack leads to is no fault of the kernel's.
            guard let mode = try? reader.value(files.file.mode, of: file), mode & Self.writable != 0,
                let inode = try? reader.pointer(files.file.inode, of: file), inode.isKernel,
                let writers = try? reader.int32(files.catchUp.writerCount, of: inode), writers > 0,
                let identity = try? identity(ofInode: inode)
            else { continue }
            found.insert(identity)
        }
        return found
    }

    /// Files that a task has closed and that end when it returns to user mode (fput, fs/file_table.c).
    private func endingFiles(of task: TaskAddress) throws(MemoryFault) -> [VirtualAddress] {
        guard let field = layout.task.works, let head = layout.files.file.ending,
            let function = manifest.symbols.addresses["____fput"]
        else { return [] }
        var files: [VirtualAddress] = []
        var work = try reader.pointer(field, of: task)
        // The last one of a task that exits is no address. `struct callback_head` is a pointer to the next and one to a function (include/linux/types.h).
        while work.isKernel, work.rawValue % 8 == 0, files.count < 4096, let next = try? reader.memory.pointer(at: work) {
            guard let does = try? reader.memory.pointer(at: work + 8) else { break }
            files.append(does == function ? work - head.offset : .null)
            work = next
        }
        return files.filter { !$0.isNull }
    }

    /// Where the number of a thread belongs that has not run yet: the kernel writes it there when the thread first runs (CLONE_CHILD_SETTID;
    /// schedule_tail, kernel/sched/core.c), which glibc's fork relies on. nil: it has run, or wants none.
    func unwrittenThreadID(of task: TaskAddress) throws(MemoryFault) -> UnwrittenThreadID? {
        guard try cpuNumber(of: task) == nil, let stack = try liveStack(of: task) else { return nil }
        // `struct inactive_task_frame` is the lowest of a stack, and its last word where the task goes on (arch/x86/include/asm/switch_to.h).
        let isNew = stride(from: 0, to: 64, by: 8).contains { at in
            let word = VirtualAddress(stack.word(at))
            return ["ret_from_fork", "ret_from_fork_asm"].contains { manifest.symbols.contains(word, in: $0) }
        }
        guard isNew else { return nil }
        let address = try reader.pointer(layout.task.setChildTID, of: task)
        guard !address.isNull, !address.isKernel, let number = try number(of: task, seenBy: task) else { return nil }
        return UnwrittenThreadID(address: address, number: number)
    }
}
