import GuestMemory
import KernelObjects
import ProcessModel

extension FileReader {
    /// Resolves what needs all files of the group: the other ends of unix sockets, what epoll instances watch, ends of pipes that are held
    /// outside the group, and locks.
    ///
    /// Call it once, after the last file was asked for.
    public mutating func finish() {
        resolveEpollTargets()
        resolveUnixPeers()
        countPipeEnds()
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
            let unknown = targets.filter { $0.file == nil }.count
            if unknown > 0 {
                obstacles.append(
                    contentsOf: pids(holding: id).map {
                        Obstacle(
                            .degraded, pid: $0, reason: "an epoll instance watches \(unknown) files held outside the group")
                    })
            }
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

    /// A pipe counts its ends (`readers`, `writers`); those that the group's files do not account for are held by somebody else, who died with
    /// the kernel.
    private mutating func countPipeEnds() {
        var readers: [PipeID: UInt32] = [:]
        var writers: [PipeID: UInt32] = [:]
        for file in openFiles.values {
            let pipe: PipeID
            switch file.kind {
            case .pipe(let id), .fifo(_, let id): pipe = id
            default: continue
            }
            // O_RDONLY 0, O_WRONLY 1, O_RDWR 2
            if file.flags & 3 != 1 { readers[pipe, default: 0] += 1 }
            if file.flags & 3 != 0 { writers[pipe, default: 0] += 1 }
        }
        for (info, id) in pipeIDs.sorted(by: { $0.value < $1.value }) {
            do throws(MemoryFault) {
                let outsideReaders = try kernel.uint32(layout.pipe.readers, of: info) > readers[id] ?? 0
                let outsideWriters = try kernel.uint32(layout.pipe.writers, of: info) > writers[id] ?? 0
                guard outsideReaders || outsideWriters else { continue }
                let end = outsideReaders ? outsideWriters ? "both ends" : "the reading end" : "the writing end"
                let inode = pipes[id]?.inode ?? 0
                for pid in pids(holdingPipe: id) {
                    obstacles.append(
                        Obstacle(
                            .degraded, pid: pid, reason: "\(end) of pipe:[\(inode)] was held outside the group and is closed"))
                }
            } catch {
                gaps.append(Gap(object: "pipe \(info)", field: "readers", fault: error))
            }
        }
    }

    private func pids(holdingPipe pipe: PipeID) -> [Int32] {
        let files = openFiles.filter { _, file in
            switch file.kind {
            case .pipe(let id), .fifo(_, let id): id == pipe
            default: false
            }
        }
        return Set(files.keys.flatMap { pids(holding: $0) }).sorted()
    }

    /// The processes that have a descriptor of `file`.
    func pids(holding file: FileID) -> [Int32] {
        let tables = descriptorTables.filter { $0.value.descriptors.contains { $0.file == file } }
        return Set(tables.keys.flatMap { tableHolders[$0] ?? [] }).sorted()
    }
}
