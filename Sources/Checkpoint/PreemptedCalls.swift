import ProcessModel

/// Reads and writes whose thread had to leave the CPU in the middle of the kernel's work. They are made anew, and nobody knows whether they had
/// already taken something out of a pipe, or put it in.
///
/// One that waits is runnable too, once what it waits for is there; it has taken nothing and is not meant here.
enum PreemptedCalls {
    /// -ENOSYS, which is in ax while a call runs (arch/x86/entry/entry_64.S).
    private static let running: Int64 = -38
    /// read, write, readv, writev, sendto, recvfrom, sendmsg, recvmsg, vmsplice, recvmmsg, preadv2, pwritev2, sendmmsg; the descriptor in di.
    private static let transfers: Set<UInt64> = [0, 1, 19, 20, 44, 45, 46, 47, 278, 299, 307, 327, 328]
    /// sendfile, splice, tee.
    private static let copies: Set<UInt64> = [40, 275, 276]
    /// write, writev, pwritev2.
    private static let writes: Set<UInt64> = [1, 20, 328]
    /// O_APPEND.
    private static let appends: UInt32 = 0o2000

    static func obstacles(of process: DeadProcess, in group: ProtectedGroup) -> [Obstacle] {
        guard let table = process.descriptorTable.flatMap({ group.descriptorTables[$0] }) else { return [] }
        return process.threads.compactMap { thread in
            let registers = thread.registers
            guard thread.interruptedCall.wasPreempted, Int64(bitPattern: registers.ax) == Self.running,
                thread.interruptedCall.transferredBytes == nil
            else { return nil }
            let number = registers.origAX
            let descriptor = Int32(truncatingIfNeeded: registers.di)
            let file = table.descriptors.first { $0.number == descriptor }.flatMap { group.openFiles[$0.file] }
            let changes =
                Self.copies.contains(number)
                || Self.transfers.contains(number) && file.map { Self.changes($0, byWriting: writes.contains(number)) } == true
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
