import ProcessModel

/// What becomes of one open file, and what to tell the operator.
struct FileAssessment: Sendable {
    enum Treatment: Sendable, Hashable {
        case asItWas
        /// Its descriptors lead to /dev/null afterwards: its other end was outside the group.
        case null
    }

    var treatment: Treatment = .asItWas
    var severity: Obstacle.Severity?
    var reason: String = ""

    static let full = FileAssessment()

    static func degraded(_ reason: String, _ treatment: Treatment = .asItWas) -> FileAssessment {
        FileAssessment(treatment: treatment, severity: .degraded, reason: reason)
    }

    static func refused(_ reason: String) -> FileAssessment {
        FileAssessment(treatment: .null, severity: .refused, reason: reason)
    }
}

/// Judges the open files of a group against each other: which ends of pipes and sockets are inside.
struct FileAssessor: Sendable {
    private let pipes: [PipeID: Pipe]
    private var readers: [PipeID: UInt32] = [:]
    private var writers: [PipeID: UInt32] = [:]
    private var unixSockets: Set<UInt64> = []
    private var listeningNames: Set<KernelString> = []
    private let sharedMemory: [SharedMemoryID: SharedMemory]

    /// - Parameter held: the files that some descriptor of the group leads to.
    init(_ group: ProtectedGroup, held: Set<FileID>) {
        pipes = group.pipes
        sharedMemory = group.sharedMemory
        for id in held {
            guard let file = group.openFiles[id] else { continue }
            switch file.kind {
            case .pipe(let pipe), .fifo(_, let pipe):
                if file.flags & 3 != 1 { readers[pipe, default: 0] += 1 }
                if file.flags & 3 != 0 { writers[pipe, default: 0] += 1 }
            case .unixSocket(let socket):
                unixSockets.insert(socket.inode)
                if socket.state == .listening, let address = socket.address { listeningNames.insert(address.name) }
            default: break
            }
        }
    }

    func assess(_ file: OpenFile) -> FileAssessment {
        switch file.kind {
        case .path(let node): assess(node)
        case .pipe(let id): assess(pipe: id, file: file, name: "pipe")
        case .fifo(let node, let id):
            assess(pipe: id, file: file, name: "named pipe \(node.path)")
        case .eventfd(_, let isSemaphore):
            isSemaphore ? .refused("an eventfd in semaphore mode, which CRIU turns into a counter") : .full
        case .epoll, .signalfd, .timerfd: .full
        case .memfd(let id):
            sharedMemory[id]?.memfd == nil ? .refused("a memfd that could not be read") : .full
        case .inotify(let instance): assess(instance)
        case .unixSocket(let socket): assess(socket)
        case .inetSocket(let socket): assess(socket)
        case .terminal(let name): .degraded("terminal \(name) is gone; its descriptors lead to /dev/null", .null)
        case .unsupported(let what): .refused(what)
        }
    }

    /// Whether a bound socket may carry its name: a connected one shares it with the listening socket that accepted it.
    func keepsName(_ socket: UnixSocket) -> Bool {
        guard let address = socket.address else { return false }
        return socket.state != .connected || socket.type == 2 || listeningNames.contains(address.name)
    }

    /// The peer's inode when both ends are inside.
    func peer(of socket: UnixSocket) -> UInt64? {
        guard case .inode(let inode) = socket.peer, unixSockets.contains(inode) else { return nil }
        return inode
    }

    private func assess(_ node: FileNode) -> FileAssessment {
        switch node.type {
        case .regular, .directory: .full
        case .characterDevice(1, let minor) where [3, 5, 7, 8, 9].contains(minor): .full
        case .characterDevice(let major, _) where [4, 5, 136, 204, 229].contains(major) || (137...143).contains(major):
            .degraded("terminal \(node.path) is gone; its descriptors lead to /dev/null", .null)
        case .characterDevice: .refused("device \(node.path)")
        case .other: .refused("\(node.path), which is neither file, directory nor device")
        }
    }

    private func assess(pipe id: PipeID, file: OpenFile, name: String) -> FileAssessment {
        guard let pipe = pipes[id] else { return .refused("a \(name) that could not be read") }
        if pipe.isPacketMode { return .refused("a \(name) in packet mode") }
        if let total = pipe.readers, total > readers[id] ?? 0 {
            return readers[id] == nil
                ? .degraded("the reader of a \(name) is outside the group; writes lead to /dev/null", .null)
                : .degraded("a \(name) has a second reader outside the group")
        }
        if let total = pipe.writers, total > writers[id] ?? 0 {
            return writers[id] == nil
                ? .degraded("the writer of a \(name) is outside the group; reads find its end")
                : .degraded("a \(name) has a second writer outside the group")
        }
        return .full
    }

    private func assess(_ instance: Inotify) -> FileAssessment {
        let nameless = instance.watches.filter { $0.path == nil }.count
        if nameless > 0 { return .degraded("\(nameless) inotify watches of removed files are lost") }
        if instance.unreadEvents > 0 {
            return .degraded("\(instance.unreadEvents) inotify events that were not read yet are lost")
        }
        return .full
    }

    private func assess(_ socket: UnixSocket) -> FileAssessment {
        if socket.options.hasFilter { return .refused("a unix socket with a filter") }
        if let address = socket.address, address.name.bytes.count > 108 { return .refused("a unix socket with a damaged name") }
        if socket.receiveQueue.contains(where: \.hasUnsavedParts) {
            return .degraded("descriptors or addresses that were on their way through a unix socket are lost")
        }
        switch socket.peer {
        case .none: break
        case .inode: if peer(of: socket) == nil { return outside(socket, "a process outside the group") }
        case .outside(let who): return outside(socket, who)
        case .closed:
            if !socket.receiveQueue.isEmpty { return .degraded("unread bytes of a closed unix connection are lost") }
        }
        if socket.waitingConnections > 0 {
            return .degraded("\(socket.waitingConnections) unix connections were waiting to be accepted and are closed")
        }
        return .full
    }

    private func outside(_ socket: UnixSocket, _ who: String) -> FileAssessment {
        // A stream whose peer is gone kills its writer with SIGPIPE: a log that leads nowhere is better.
        socket.type == 2
            ? .degraded("a unix datagram socket was connected to \(who); it is unconnected now")
            : .degraded("a unix connection to \(who) is cut; its descriptors lead to /dev/null", .null)
    }

    private func assess(_ socket: InetSocket) -> FileAssessment {
        let transport = socket.type == 1 ? "TCP" : socket.type == 2 ? "UDP" : "raw"
        if socket.options.hasFilter { return .refused("a \(transport) socket with a filter") }
        if socket.type == 3 { return .refused("a raw socket") }
        if socket.sourceAddress.count != (socket.family == 10 ? 16 : 4) {
            return .refused("a \(transport) socket that could not be read")
        }
        switch socket.state {
        case .closed: return socket.queuedItems > 0 ? .degraded("\(socket.queuedItems) received datagrams are lost") : .full
        case .listening:
            return socket.queuedItems > 0
                ? .degraded("\(socket.queuedItems) TCP connections were waiting to be accepted and are cut") : .full
        case .established:
            if socket.type != 1 {
                return socket.queuedItems > 0 ? .degraded("\(socket.queuedItems) received datagrams are lost") : .full
            }
            return .degraded("a TCP connection to port \(socket.destinationPort) is cut")
        case .other(let state): return .degraded("a TCP connection (\(state)) is cut")
        }
    }
}
