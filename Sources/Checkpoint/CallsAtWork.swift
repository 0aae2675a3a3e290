import ProcessModel

/// Calls that were at work when the kernel died, and of which nobody can tell how far they had come. They are made again, and must
/// not have done anything yet: what a read had taken out would be missing, and what a write had put in would be there twice.
///
/// A call whose progress is known goes on from there (`ResumedCall`, `InterruptedCall.Progress`), and is not meant here.
struct CallsAtWork {
    private static let recvmsg: UInt64 = 47
    private static let recvmmsg: UInt64 = 299
    /// MSG_WAITALL.
    private static let waitsForAll: UInt64 = 0x100
    /// O_APPEND.
    private static let appends: UInt32 = 0o2000
    /// PIPE_BUF: a write of no more than this to a pipe goes as a whole.
    private static let wholeWrite: UInt64 = 4096

    /// TCP connections that go on.
    let connections: Set<FileID>

    func obstacles(of process: DeadProcess, in group: ProtectedGroup) -> [Obstacle] {
        guard let table = process.descriptorTable.flatMap({ group.descriptorTables[$0] }) else { return [] }
        func file(_ descriptor: UInt64) -> FileID? {
            table.descriptors.first { $0.number == Int32(truncatingIfNeeded: descriptor) }?.file
        }
        return process.threads.compactMap { thread in
            let call = thread.interruptedCall
            let isSettled = call.stage == .asleep || call.stage == .woken
            guard thread.registers.ax == SystemCallNumber.isRunning, call.transferredBytes == nil, !call.causedPanic else {
                return nil
            }
            let number = thread.registers.origAX
            if number == SystemCallNumber.mremap, !isSettled {
                // Its pages go one by one from the old place to the new (move_page_tables, mm/mremap.c).
                return Obstacle(
                    .refused, pid: process.pid, reason: "memory was being moved (mremap), and is partly in both places")
            }
            // fallocate with FALLOC_FL_COLLAPSE_RANGE or FALLOC_FL_INSERT_RANGE, which may wait in its middle.
            let movesBlocks = number == SystemCallNumber.fallocate && thread.registers.si & 0x28 != 0
            if movesBlocks || SystemCallNumber.onceOnly.contains(number) && !isSettled {
                return Obstacle(
                    .degraded, pid: process.pid,
                    reason: "system call \(number) was at work; it is made again, but may have been done")
            }
            if SystemCallNumber.takingResults.contains(number), thread.registers.si > 1 {
                return Obstacle(
                    .degraded, pid: process.pid,
                    reason: "it waited for several results of asynchronous I/O; those that it had already taken may be missing")
            }
            guard let reason = concern(thread.registers, isSettled: isSettled, in: group, file) else { return nil }
            return Obstacle(.degraded, pid: process.pid, reason: reason)
        }
    }

    /// - Parameter isSettled: it waited, or is about to go on after it has; most calls have done nothing then.
    private func concern(
        _ registers: GeneralRegisters, isSettled: Bool, in group: ProtectedGroup, _ file: (UInt64) -> FileID?
    ) -> String? {
        let number = registers.origAX
        // splice has the descriptor that it writes to in dx.
        let id = file(number == SystemCallNumber.splice ? registers.dx : registers.di)
        let isConnection = id.map(connections.contains) == true
        let kind = id.flatMap { group.openFiles[$0] }
        if SystemCallNumber.copying.contains(number) {
            let isDone = isSettled && number != SystemCallNumber.sendfile && !isConnection
            return isDone ? nil : "a copy between two descriptors was under way; what it had copied may be copied again"
        }
        if SystemCallNumber.sending.contains(number) {
            if isConnection {
                return "a write to a TCP connection was under way; what it had already written may be written again"
            }
            guard let kind, Self.changes(kind, byWriting: true) else { return nil }
            if !isSettled {
                return "a write was interrupted in the middle of the kernel's work; what it had written may be written again"
            }
            return mayHaveWrittenInPart(registers, to: kind)
                ? "a write was waiting for room; what it had already written may be written again" : nil
        }
        guard SystemCallNumber.receiving.contains(number), !isSettled || waitsForAll(registers) else { return nil }
        if isConnection { return "a read from a TCP connection was under way; what it had already taken may be missing" }
        guard let kind, Self.changes(kind, byWriting: false) else { return nil }
        return "a read was interrupted in the middle of the kernel's work; what it had already taken may be missing"
    }

    /// Whether a write that waits may have moved a part.
    private func mayHaveWrittenInPart(_ registers: GeneralRegisters, to file: OpenFile) -> Bool {
        switch file.kind {
        case .pipe, .fifo, .unixSocket, .terminal, .path, .memfd:
            let isSingle = registers.origAX == SystemCallNumber.write || registers.origAX == SystemCallNumber.sendto
            return !isSingle || registers.dx > Self.wholeWrite
        default: return false
        }
    }

    private func waitsForAll(_ registers: GeneralRegisters) -> Bool {
        switch registers.origAX {
        case SystemCallNumber.recvfrom, Self.recvmmsg: registers.r10 & Self.waitsForAll != 0
        case Self.recvmsg: registers.dx & Self.waitsForAll != 0
        default: false
        }
    }

    /// Whether the same call on the same file does something else the second time.
    private static func changes(_ file: OpenFile, byWriting isWrite: Bool) -> Bool {
        switch file.kind {
        case .path, .memfd: isWrite && file.flags & appends != 0
        case .pipe, .fifo, .eventfd, .timerfd, .signalfd, .inotify, .fanotify, .unixSocket, .inetSocket, .netlinkSocket,
            .packetSocket, .tunnel, .posixQueue, .terminal:
            true
        case .epoll, .namespace, .pidfd, .unsupported: false
        }
    }
}
