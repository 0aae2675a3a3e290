import ProcessModel

/// Reads and writes whose thread had to leave the CPU in the middle of the kernel's work. They are made anew, and nobody knows whether they had
/// already taken something out of a pipe, or put it in.
///
/// One that waits is runnable too, once what it waits for is there; it has taken nothing and is not meant here. Of TCP connections `CallsOnStreams` tells.
struct PreemptedCalls {
    private static let transfers = SystemCallNumber.sending.union(SystemCallNumber.receiving).union([SystemCallNumber.vmsplice])
    private static let copies: Set<UInt64> = [SystemCallNumber.sendfile, SystemCallNumber.splice, SystemCallNumber.tee]
    /// O_APPEND.
    private static let appends: UInt32 = 0o2000

    /// Connections that go on.
    let connections: Set<FileID>

    func obstacles(of process: DeadProcess, in group: ProtectedGroup) -> [Obstacle] {
        guard let table = process.descriptorTable.flatMap({ group.descriptorTables[$0] }) else { return [] }
        return process.threads.compactMap { thread in
            let registers = thread.registers
            guard thread.interruptedCall.wasPreempted, registers.ax == SystemCallNumber.isRunning,
                thread.interruptedCall.transferredBytes == nil
            else { return nil }
            let number = registers.origAX
            let descriptor = Int32(truncatingIfNeeded: registers.di)
            let id = table.descriptors.first { $0.number == descriptor }?.file
            if let id, connections.contains(id) { return nil }
            let file = id.flatMap { group.openFiles[$0] }
            let changes =
                Self.copies.contains(number)
                || Self.transfers.contains(number)
                    && file.map { Self.changes($0, byWriting: SystemCallNumber.sending.contains(number)) } == true
            guard changes else { return nil }
            return Obstacle(
                .degraded, pid: process.pid,
                reason: "a read or write was interrupted in the middle of the kernel's work; what it had done may be done again"
            )
        }
    }

    /// Whether the same call on the same file does something else the second time.
    private static func changes(_ file: OpenFile, byWriting isWrite: Bool) -> Bool {
        switch file.kind {
        case .path, .memfd: isWrite && file.flags & appends != 0
        case .pipe, .fifo, .eventfd, .timerfd, .signalfd, .inotify, .unixSocket, .inetSocket, .netlinkSocket, .terminal: true
        case .epoll, .unsupported: false
        }
    }
}
