import GuestMemory
import KernelObjects
import ProcessModel

extension FileReader {
    /// Resolves what needs all files of the group: the other ends of unix sockets, what epoll instances watch, and locks.
    ///
    /// Call it once, after the last file was asked for.
    public mutating func finish() {
        resolveEpollTargets()
        resolveUnixPeers()
        readLocks()
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
        for (id, peer) in unixPeers {
            guard case .unixSocket(var unix) = openFiles[id]?.kind else { continue }
            if let file = sockets[peer], case .unixSocket(let other) = openFiles[file]?.kind {
                unix.peer = .inode(other.inode)
            } else if let listener = listeners[peer] {
                // Connected, but not yet accepted: CRIU connects it to the listener again.
                unix.peer = .inode(listener)
                noteDataSent(toWaiting: peer, by: id)
            } else {
                unix.peer = outsidePeer(peer, of: id)
            }
            openFiles[id]?.kind = .unixSocket(unix)
        }
    }

    /// What was already sent over a connection that nobody accepted lies in a socket without a file.
    private mutating func noteDataSent(toWaiting peer: VirtualAddress, by id: FileID) {
        let length = (try? kernel.uint32(layout.sockets.receiveQueueLength, of: peer)) ?? 1
        guard length > 0 else { return }
        obstacles.append(
            contentsOf: pids(holding: id).map {
                Obstacle(
                    .refused, pid: $0, reason: "data sent over a unix connection that was not yet accepted cannot be saved")
            })
    }

    private func outsidePeer(_ peer: VirtualAddress, of id: FileID) -> UnixSocket.Peer {
        do throws(MemoryFault) {
            let flags = try kernel.value(layout.sockets.options.flags, of: peer)
            // SOCK_DEAD, the first of `enum sock_flags`.
            if flags & 1 == 1 { return .closed }
            let address = try kernel.pointer(layout.sockets.unix.address, of: peer)
            if !address.isNull {
                let length = Int(try kernel.uint32(layout.sockets.unix.addressLength, of: address))
                if (3...110).contains(length) {
                    let bytes = try kernel.memory.bytes(
                        at: address + layout.sockets.unix.addressName.offset + 2, count: length - 2)
                    let name = KernelString(
                        bytes: bytes.first == 0 ? [UInt8(ascii: "@")] + bytes.dropFirst() : bytes.filter { $0 != 0 })
                    return .outside("\(name)")
                }
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
