import GuestMemory
import KernelObjects
import ProcessModel

/// The end of a process that its parent has not been told of.
struct UnannouncedEnd {
    var parentPID: Int32
    var signal: PendingSignal
}

extension DeadKernel {
    /// PF_EXITING (include/linux/sched.h).
    static let exiting: UInt64 = 4

    /// Whether a task is at its end and has given its memory up: it cannot go on, its exit code stands, and all that is still to happen is that its files are closed
    /// and its parent told (do_exit, kernel/exit.c).
    func isEnding(_ task: TaskAddress) throws(MemoryFault) -> Bool {
        guard try reader.value(layout.task.flags, of: task) & Self.exiting != 0 else { return false }
        return try reader.pointer(layout.task.mm, of: task).isNull
    }

    /// The parent of a process, or who gets it when its parent has ended: the nearest ancestor that is a subreaper, or has no parent itself
    /// (find_new_reaper, kernel/exit.c).
    func livingParent(of leader: TaskAddress) throws(MemoryFault) -> TaskAddress {
        var parent = try reader.pointer(layout.task.realParent, of: leader)
        guard try isEnding(parent), parent != leader else { return parent }
        for _ in 0..<1024 {
            let above = try reader.pointer(layout.task.realParent, of: parent)
            if above == parent || above.isNull { return parent }
            parent = above
            let signal = try reader.pointer(layout.task.signal, of: parent)
            if try !isEnding(parent), try reader.value(layout.signal.isChildSubreaper, of: signal) == 1 { return parent }
        }
        throw MemoryFault(.damaged("more than 1024 ancestors"), at: leader)
    }

    /// The signal that a process's end would have sent to its parent (do_notify_parent, kernel/signal.c); nil: it has, or is to send none.
    func unannouncedEnd(of leader: TaskAddress, exitCode: Int32) throws(MemoryFault) -> UnannouncedEnd? {
        let number = try reader.int32(layout.task.exitSignal, of: leader)
        guard try reader.value(layout.task.exitState, of: leader) == 0, number > 0 else { return nil }
        let parent = try livingParent(of: leader)
        // struct kernel_siginfo: si_signo, si_errno, si_code, then of _sigchld the pid, the uid, the status and two times (include/uapi/asm-generic/siginfo.h).
        var info: [UInt8] = []
        func add(_ value: Int32) { for shift in 0..<4 { info.append(UInt8(truncatingIfNeeded: value >> (shift * 8))) } }
        let wasKilled = exitCode & 0x7f != 0
        // CLD_EXITED, CLD_KILLED, CLD_DUMPED
        let code: Int32 = !wasKilled ? 1 : exitCode & 0x80 == 0 ? 2 : 3
        let pid = Int32(bitPattern: try self.number(of: leader, seenBy: parent) ?? 0)
        let uid = Int32(bitPattern: try credentials(of: leader).uid)
        for value in [number, 0, code, 0, pid, uid, wasKilled ? exitCode & 0x7f : exitCode >> 8 & 0xff] { add(value) }
        info += Array(repeating: 0, count: 128 - info.count)
        return UnannouncedEnd(
            parentPID: try reader.int32(layout.task.tgid, of: parent), signal: PendingSignal(signal: number, info: info))
    }
}
