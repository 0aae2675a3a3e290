import GuestMemory
import KernelObjects
import KernelTypes
import ProcessModel

extension DeadKernel {
    /// _NSIG on x86-64.
    private static let signalCount = 64
    /// The most queued signals believed; RLIMIT_SIGPENDING is some thousands.
    private static let queueLimit = 65_536

    /// The actions of a `struct sighand_struct`.
    func signalActions(at sighand: VirtualAddress) throws(MemoryFault) -> SignalActions {
        let fields = layout.signal
        var actions: [SignalAction] = []
        for index in 0..<Self.signalCount {
            let action = sighand + fields.actions.element(index).offset
            actions.append(
                SignalAction(
                    handler: try reader.value(fields.actionHandler, of: action),
                    flags: try reader.value(fields.actionFlags, of: action),
                    restorer: try reader.pointer(fields.actionRestorer, of: action),
                    mask: try reader.memory.integer(at: action + fields.actionMask.offset)))
        }
        return SignalActions(actions: actions)
    }

    /// The signals of a `struct sigpending`: those queued, and those that are only a bit because no memory was left for an entry.
    func pendingSignals(at pending: VirtualAddress) throws(MemoryFault) -> [PendingSignal] {
        let fields = layout.signal
        var addresses: [VirtualAddress] = []
        if let fault = reader.forEach(
            onList: pending + fields.pendingList.offset, link: fields.queueList, limit: Self.queueLimit,
            { addresses.append($0) })
        {
            throw fault
        }
        var result: [PendingSignal] = []
        var queued: UInt64 = 0
        for address in addresses {
            var info = try reader.bytes(fields.queueInfo, of: address)
            let signal = Int32(truncatingIfNeeded: info.prefix(4).reversed().reduce(0) { $0 << 8 | UInt32($1) })
            guard (1...Int32(Self.signalCount)).contains(signal) else {
                throw MemoryFault(.damaged("queued signal \(signal)"), at: address)
            }
            info += [UInt8](repeating: 0, count: max(0, 128 - info.count))
            queued |= 1 << UInt64(signal - 1)
            result.append(PendingSignal(signal: signal, info: info))
        }
        let set = try reader.memory.integer(at: pending + fields.pendingSet.offset, as: UInt64.self)
        for signal in 1...Self.signalCount where (set & ~queued) >> UInt64(signal - 1) & 1 == 1 {
            var info = [UInt8](repeating: 0, count: 128)
            info[0] = UInt8(signal)
            result.append(PendingSignal(signal: Int32(signal), info: info))
        }
        return result
    }

    /// The mask that a thread is to have when its call is over.
    func signalMask(of task: TaskAddress) throws(MemoryFault) -> UInt64 {
        func set(_ field: Field) throws(MemoryFault) -> UInt64 { try reader.memory.integer(at: task + field.offset) }
        if let restore = layout.task.restoreSigmask, try reader.value(restore, of: task) != 0 {
            return try set(layout.task.savedSigmask)
        }
        let real = try set(layout.task.realBlocked)
        return real != 0 ? real : try set(layout.task.blocked)
    }

    /// SS_DISABLE and the autodisarm flag stay in the flags; a size of 0 means that none was registered.
    func alternateStack(of task: TaskAddress) throws(MemoryFault) -> AlternateStack? {
        let size = try reader.value(layout.task.alternateStackSize, of: task)
        guard size > 0 else { return nil }
        return AlternateStack(
            base: try reader.pointer(layout.task.alternateStackBase, of: task), size: size,
            flags: try reader.uint32(layout.task.alternateStackFlags, of: task))
    }
}
