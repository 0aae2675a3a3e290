import ProcessModel

extension OpenFile {
    /// What kind of file it is, in a word or two.
    public var kindName: String {
        switch kind {
        case .path(let node):
            switch node.type {
            case .regular: node.isDeleted ? "deleted" : "regular"
            case .directory: "directory"
            case .characterDevice: "device"
            case .symbolicLink: "symbolic link"
            case .other: "other"
            }
        case .pipe: "pipe"
        case .fifo: "fifo"
        case .eventfd: "eventfd"
        case .epoll: "epoll"
        case .timerfd: "timerfd"
        case .signalfd: "signalfd"
        case .memfd: "memfd"
        case .inotify: "inotify"
        case .fanotify: "fanotify"
        case .unixSocket: "unix"
        case .inetSocket(let socket):
            (socket.transport == 6 ? "tcp" : socket.transport == 17 ? "udp" : "inet") + (socket.family == 10 ? "6" : "")
        case .netlinkSocket: "netlink"
        case .packetSocket: "packet"
        case .tunnel: "tunnel"
        case .pidfd: "pidfd"
        case .posixQueue: "queue"
        case .terminal: "terminal"
        case .namespace: "namespace"
        case .unsupported: "unsupported"
        }
    }

    /// Where it leads to, for a table: a path, an address, a count.
    public func summary(pipes: [PipeID: Pipe], sharedMemory: [SharedMemoryID: SharedMemory]) -> String {
        switch kind {
        case .path(let node): return "\(node.path)"
        case .pipe(let id):
            let pipe = pipes[id]
            return "pipe:[\(pipe?.inode ?? 0)], \(pipe?.queuedBytes.count ?? 0) bytes queued"
        case .fifo(let node, let id): return "\(node.path), \(pipes[id]?.queuedBytes.count ?? 0) bytes queued"
        case .eventfd(let counter, let isSemaphore): return "count \(counter)" + (isSemaphore ? ", semaphore" : "")
        case .epoll(let targets): return "watches " + targets.map { "\($0.descriptor)" }.joined(separator: ", ")
        case .timerfd(let timer):
            return timer.remainingNanoseconds == 0
                ? "clock \(timer.clock), disarmed" : "clock \(timer.clock), due in \(timer.remainingNanoseconds / 1_000_000) ms"
        case .signalfd(let mask): return "signals 0x" + String(mask, radix: 16)
        case .memfd(let id):
            let memory = sharedMemory[id]
            return "\(memory?.memfd?.name ?? ""), \(memory?.sizeBytes ?? 0) bytes"
        case .inotify(let instance):
            return "watches " + instance.watches.map { $0.path.map { "\($0)" } ?? "inode \($0.inode)" }.joined(separator: ", ")
        case .fanotify(let group): return group.summary
        case .unixSocket(let socket): return socket.summary
        case .inetSocket(let socket): return socket.summary
        case .netlinkSocket(let socket): return "protocol \(socket.transport), port \(socket.port)"
        case .packetSocket(let socket): return socket.summary
        case .posixQueue(let queue): return "/\(queue.name), \(queue.messages.count) messages"
        case .pidfd(let process): return "process \(process)"
        case .tunnel(let tunnel): return "\(tunnel.node.path)" + (tunnel.device.map { ", device \($0)" } ?? "")
        case .terminal(let terminal):
            return "\(terminal.node.path)" + (terminal.isHungUp ? ", hung up" : "")
        case .namespace(let kind, let number): return "\(kind.fileName):[\(number)]"
        case .unsupported(let words): return words
        }
    }
}

extension Fanotify {
    var summary: String {
        "marks "
            + marks.map { mark in
                switch mark.target {
                case .inode(let inode, let path): path.map { "\($0)" } ?? "inode \(inode)"
                case .mount(let id, let path): "mount " + (path.map { "\($0)" } ?? "\(id)")
                case .filesystem: "a filesystem"
                case .other: "something else"
                }
            }.joined(separator: ", ")
    }
}

extension UnixSocket {
    var summary: String {
        var parts: [String] = []
        if let name = address?.name {
            parts.append(name.bytes.first == 0 ? "@\(KernelString(bytes: Array(name.bytes.dropFirst())))" : "\(name)")
        }
        switch state {
        case .listening: parts.append("listening")
        case .unconnected, .connected: break
        }
        switch peer {
        case .none: break
        case .inode(let inode): parts.append("peer [\(inode)]")
        case .outside(let words): parts.append("peer outside the group: \(words)")
        case .closed: parts.append("peer closed")
        }
        let queued = receiveQueue.reduce(0) { $0 + $1.bytes.count }
        if queued > 0 { parts.append("\(queued) bytes queued") }
        let travelling = receiveQueue.reduce(0) { $0 + $1.files.count }
        if travelling > 0 { parts.append("\(travelling) descriptors queued") }
        let waiting = waitingConnections &+ waitingClients
        if waiting > 0 { parts.append("\(waiting) connections waiting") }
        return parts.isEmpty ? "[\(inode)]" : parts.joined(separator: ", ")
    }
}

extension PacketSocket {
    var summary: String {
        let device = device.map { $0.name.map { "\($0)" } ?? "device \($0.number)" } ?? "all devices"
        var text = "protocol 0x" + String(transport.byteSwapped, radix: 16) + " of " + device
        if ringBytes > 0 { text += ", rings of \(ringBytes) bytes" }
        if queuedPackets > 0 { text += ", \(queuedPackets) packets queued" }
        return text
    }
}

extension InetSocket {
    var summary: String {
        var text = Self.text(of: sourceAddress, port: sourcePort)
        switch state {
        case .closed: break
        case .listening: text += ", listening"
        case .established: text += " to " + Self.text(of: destinationAddress, port: destinationPort)
        case .other(let name): text += " to " + Self.text(of: destinationAddress, port: destinationPort) + ", \(name)"
        }
        return text
    }

    private static func text(of address: [UInt8], port: UInt16) -> String {
        guard address.count == 16 else { return address.map { "\($0)" }.joined(separator: ".") + ":\(port)" }
        let groups = stride(from: 0, to: 16, by: 2).map {
            String(UInt16(address[$0]) << 8 | UInt16(address[$0 + 1]), radix: 16)
        }
        return "[" + groups.joined(separator: ":") + "]:\(port)"
    }
}
