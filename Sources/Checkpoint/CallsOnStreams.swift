import ProcessModel

/// System calls that were at work on a TCP connection when the kernel died. A call that is made anew must not have done anything yet: what it
/// had taken out of the stream would be missing, and what it had put in would be there twice.
struct CallsOnStreams {
    /// -ENOSYS, which is in ax while a call runs (arch/x86/entry/entry_64.S).
    private static let running: Int64 = -38
    /// write, writev, sendfile, sendto, sendmsg, pwritev2, sendmmsg.
    private static let sending: Set<UInt64> = [1, 20, 40, 44, 46, 307, 328]
    /// read, readv, recvfrom, recvmsg, recvmmsg, preadv2.
    private static let receiving: Set<UInt64> = [0, 19, 45, 47, 299, 327]
    private static let recvfrom: UInt64 = 45
    private static let recvmsg: UInt64 = 47
    private static let recvmmsg: UInt64 = 299
    /// splice, with the descriptor that it writes to in dx.
    private static let splice: UInt64 = 275
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
            guard Int64(bitPattern: registers.ax) == Self.running, thread.interruptedCall.transferredBytes == nil else {
                return nil
            }
            let number = registers.origAX
            let sends =
                Self.sending.contains(number) && isStream(registers.di) || number == Self.splice && isStream(registers.dx)
            if sends {
                return Obstacle(
                    .degraded, pid: process.pid,
                    reason: "a write to a TCP connection was under way; what it had already written may be written again")
            }
            let receives = (Self.receiving.contains(number) || number == Self.splice) && isStream(registers.di)
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
