import GuestMemory
import KernelObjects
import ProcessModel

extension FileReader {
    /// Resolves what needs all files of the group: the other ends of unix sockets, what epoll instances watch, and locks.
    ///
    /// Call it once, after the last file was asked for.
    public mutating func finish() {
        readFilesInFlight()
        resolveEpollTargets()
        resolveUnixPeers()
        countTerminalFilesOutside()
        readLocks()
        checkReferences()
    }

    /// The most files believed to travel through the sockets of one group; the kernel allows a user RLIMIT_NOFILE of them.
    private static let flightLimit = 1 << 20

    private mutating func readFilesInFlight() {
        var count = 0
        while let address = filesInFlight.popLast() {
            count += 1
            guard count <= Self.flightLimit else {
                obstacles.append(Obstacle(.refused, pid: nil, reason: "too many files on their way through unix sockets"))
                return
            }
            _ = file(at: address)
        }
    }

    private mutating func resolveEpollTargets() {
        for (id, pending) in epollTargets {
            let targets = pending.map { item in
                var target = item.target
                target.file = fileIDs[item.file]
                return target
            }
            openFiles[id]?.kind = .epoll(targets)
        }
    }

    private mutating func resolveUnixPeers() {
        for (id, peer) in unixPeers.sorted(by: { $0.key < $1.key }) {
            guard case .unixSocket(var unix) = openFiles[id]?.kind else { continue }
            if let file = sockets[peer], case .unixSocket(let other) = openFiles[file]?.kind {
                unix.peer = .inode(other.inode)
            } else if let waiting = waitingConnections[peer],
                case .unixSocket(var listener) = openFiles[waiting.listener]?.kind
            {
                // Connected, but not yet accepted: CRIU connects it to the listener again.
                unix.peer = .inode(listener.inode)
                if listener.waitingConnections > 0 { listener.waitingConnections -= 1 }
                listener.waitingClients += 1
                if listener.receiveQueue.isEmpty {
                    listener.receiveQueue = waiting.sent
                    unix.hasSentBeforeAccept = !waiting.sent.isEmpty
                } else if !waiting.sent.isEmpty {
                    refuse(id, "data sent over several unix connections that were not yet accepted cannot be saved")
                }
                openFiles[waiting.listener]?.kind = .unixSocket(listener)
            } else {
                unix.peer = outsidePeer(peer, of: id)
            }
            openFiles[id]?.kind = .unixSocket(unix)
        }
    }

    private mutating func refuse(_ file: FileID, _ reason: String) {
        let holders = pids(holding: file)
        obstacles +=
            holders.isEmpty
            ? [Obstacle(.refused, pid: nil, reason: reason)] : holders.map { Obstacle(.refused, pid: $0, reason: reason) }
    }

    private func outsidePeer(_ peer: VirtualAddress, of id: FileID) -> UnixSocket.Peer {
        do throws(MemoryFault) {
            let flags = try kernel.value(layout.sockets.options.flags, of: peer)
            // SOCK_DEAD, the first of `enum sock_flags`.
            if flags & 1 == 1 { return .closed }
            if let name = try boundName(of: peer) {
                return .outside(
                    "\(name.bytes.first == 0 ? KernelString(bytes: [UInt8(ascii: "@")] + name.bytes.dropFirst()) : name)")
            }
            let pid = try kernel.pointer(layout.sockets.peerPID, of: peer)
            if pid.isNull { return .outside("an unnamed socket") }
            return .outside("a socket connected by pid \(try kernel.uint32(layout.file.pidNumbers, of: pid))")
        } catch {
            return .outside("a socket that could not be read: \(error)")
        }
    }

    /// The processes that have a descriptor of `file`.
    func pids(holding file: FileID) -> [Int32] {
        let tables = descriptorTables.filter { $0.value.descriptors.contains { $0.file == file } }
        return Set(tables.keys.flatMap { tableHolders[$0] ?? [] }).sorted()
    }
}
