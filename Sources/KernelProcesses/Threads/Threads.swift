import GuestMemory
import KernelObjects
import KernelTypes
import ProcessModel

extension DeadKernel {
    /// Reads all that belongs to one thread alone.
    func thread(_ task: TaskAddress, clocks: GuestClocks) throws(MemoryFault) -> DeadThread {
        let fields = layout.task
        let registers = try registers(of: task)
        var thread = DeadThread(
            tid: try reader.int32(fields.pid, of: task), command: KernelString(bytes: try reader.text(fields.comm, of: task)),
            registers: registers)
        thread.floatingPoint = try floatingPoint(of: task)
        thread.interruptedCall = try interruptedCall(of: task, registers: registers, clocks: clocks)
        thread.credentials = try credentials(of: task)
        thread.signalMask = try signalMask(of: task)
        thread.pendingSignals = try pendingSignals(at: task + fields.pending.offset)
        thread.alternateStack = try alternateStack(of: task)
        if let field = fields.robustList { thread.robustList = try reader.pointer(field, of: task) }
        thread.rseq = try rseq(of: task)
        thread.unwrittenThreadID = try unwrittenThreadID(of: task)
        thread.clearChildTID = try reader.pointer(fields.clearChildTID, of: task)
        thread.parentDeathSignal = try reader.int32(fields.pdeathSignal, of: task)
        thread.scheduling = try scheduling(of: task)
        for index in 0..<3 { thread.tlsDescriptors.append(try reader.memory.integer(at: task + fields.tls.offset + index * 8)) }
        thread.seccomp = try seccomp(of: task)
        // PFA_SPEC_* begin at bit 3 (include/linux/sched.h).
        thread.speculation = DeadThread.Speculation(
            rawValue: UInt8(truncatingIfNeeded: try reader.value(fields.atomicFlags, of: task) >> 3 & 0x1f))
        if let selector = fields.dispatchSelector, let length = fields.dispatchLength {
            thread.dispatchesCalls = try reader.value(selector, of: task) | reader.value(length, of: task) != 0
        }
        thread.keyrings = try keyrings(of: task)
        thread.hasPortPermissions = try hasPortPermissions(task)
        let flags = try reader.value(fields.flags, of: task)
        thread.hasMemoryErrorPolicy = MemoryControls.hasErrorPolicy(flags)
        thread.isFlusher = MemoryControls.isFlusher(flags)
        return thread
    }

    /// What kernels take that do not keep the size (before 6.3, commit ee3e3ac05c26): it must be this one (kernel/rseq.c).
    private static let originalRseqSize: UInt32 = 32

    private func rseq(of task: TaskAddress) throws(MemoryFault) -> RseqRegistration? {
        let fields = layout.task
        guard let area = fields.rseq, let signature = fields.rseqSignature else { return nil }
        let address = try reader.pointer(area, of: task)
        guard !address.isNull else { return nil }
        let size =
            try fields.rseqLength.map { field throws(MemoryFault) in try reader.uint32(field, of: task) }
            ?? Self.originalRseqSize
        return RseqRegistration(
            address: address, size: size, signature: try reader.uint32(signature, of: task),
            criticalSection: try userWord(at: address + 8, of: task).map { VirtualAddress($0) })
    }

    /// Eight bytes of a task's own memory; nil when they are not there.
    func userWord(at address: VirtualAddress, of task: TaskAddress) throws(MemoryFault) -> UInt64? {
        try userBytes(at: address, count: 8, of: task)?.reversed().reduce(0) { $0 << 8 | UInt64($1) }
    }

    /// Bytes of a task's own memory; nil when they are not all there.
    func userBytes(at address: VirtualAddress, count: Int, of task: TaskAddress) throws(MemoryFault) -> [UInt8]? {
        let mm = try reader.pointer(layout.task.mm, of: task)
        guard !mm.isNull, !address.isKernel else { return nil }
        let root = try reader.memory.translate(reader.pointer(layout.memory.pgd, of: mm))
        let tables = PageTables(root: root, levels: manifest.tables.levels, encryptionMask: manifest.tables.encryptionMask)
        return try? VirtualMemory(source: source, tables: tables).bytes(at: address, count: count)
    }

    private func scheduling(of task: TaskAddress) throws(MemoryFault) -> Scheduling {
        let fields = layout.task
        var result = Scheduling()
        result.policy = try reader.uint32(fields.policy, of: task)
        if let field = fields.resetsOnFork { result.resetsOnFork = try reader.value(field, of: task) != 0 }
        // MAX_RT_PRIO + NICE_WIDTH / 2
        result.nice = try reader.int32(fields.staticPriority, of: task) &- 120
        result.realtimePriority = try reader.uint32(fields.realtimePriority, of: task)
        result.timerSlackNanoseconds = try reader.value(fields.timerSlack, of: task)
        if let field = fields.ioContext, let priority = fields.ioPriority {
            // Made when the thread first does block I/O or sets its priority.
            let context = try reader.pointer(field, of: task)
            if !context.isNull { result.ioPriority = UInt16(truncatingIfNeeded: try reader.value(priority, of: context)) }
        }
        if let field = fields.memoryPolicy { result.hasMemoryPolicy = try !reader.pointer(field, of: task).isNull }
        result.hasCoreCookie = try hasCoreCookie(task)
        result.hasUtilizationClamps = try hasUtilizationClamps(task)
        result.possibleCPUs = try possibleCPUs()
        result.affinity = try cpuMask(at: task + fields.affinity.offset, limit: fields.affinity.size)
        return result
    }
}
