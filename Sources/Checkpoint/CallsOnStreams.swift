import ProcessModel

/// System calls that were at work on a TCP connection when the kernel died. A call that is made anew must not have done anything yet: what it
/// had taken out of the stream would be missing, and what it had put in would be there twice.
struct CallsOnStreams {
    private static let recvfrom: UInt64 = 45
    private static let recvmsg: UInt64 = 47
    private static let recvmmsg: UInt64 = 299
    /// MSG_WAITALL.
    private static let waitsForAll: UInt64 = 0x100

    /// Connections that go on.
    let connections: Set<FileID>

    func obstacles(of process: DeadProcess, in group: ProtectedGroup) -> [Obstacle] {
        guard !connections.isEmpty, let table = process.descriptorTable.flatMap({ group.descriptorTables[$0] }) else {
            return []
        }
        func isStream(_ descriptor: UInt64) -> Bool {
            table.descriptors.contains {
                $0.number == Int32(truncatingIfNeeded: descriptor) && connections.contains($0.file)
            }
        }
        return process.threads.compactMap { thread in
            let registers = thread.registers
            guard registers.ax == SystemCallNumber.isRunning, thread.interruptedCall.transferredBytes == nil else {
                return nil
            }
            let number = registers.origAX
            // splice has the descriptor that it writes to in dx.
            let isSplice = number == SystemCallNumber.splice
            let sends =
                (SystemCallNumber.sending.contains(number) || number == SystemCallNumber.sendfile) && isStream(registers.di)
                || isSplice && isStream(registers.dx)
            if sends {
                return Obstacle(
                    .degraded, pid: process.pid,
                    reason: "a write to a TCP connection was under way; what it had already written may be written again")
            }
            let receives = (SystemCallNumber.receiving.contains(number) || isSplice) && isStream(registers.di)
            // Who sleeps has taken nothing, unless he waits for more than the first bytes.
            guard receives, !thread.interruptedCall.isAsleep || waitsForAll(registers) else { return nil }
            return Obstacle(
                .degraded, pid: process.pid,
                reason: "a read from a TCP connection was under way; what it had already taken may be missing")
        }
    }

    private func waitsForAll(_ registers: GeneralRegisters) -> Bool {
        switch registers.origAX {
        case Self.recvfrom, Self.recvmmsg: registers.r10 & Self.waitsForAll != 0
        case Self.recvmsg: registers.dx & Self.waitsForAll != 0
        default: false
        }
    }
}
