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
    /// By the number of the inode.
    private var unixSockets: [UInt64: UnixSocket] = [:]
    /// The names of those who send to a unix socket, and so to its queue when CRIU fills it.
    private var senders: [UInt64: Set<KernelString?>] = [:]
    private let sharedMemory: [SharedMemoryID: SharedMemory]
    private let processes: Set<Int32>
    private let guestIPCNamespace: UInt32
    let terminals: TerminalAssessor
    /// Files without a name that travel in the checkpoint, by device and inode.
    private var ghosts: Set<[UInt64]> = []
    private let fanotify: FanotifyAssessor
    private let connections: TCPAssessor
    let inhabited: InhabitedNamespaces
    let lostNames: LostNames

    /// - Parameters:
    ///   - held: the files that some descriptor of the group leads to.
    ///   - inhabited: what files of namespaces are judged by.
    init(_ group: ProtectedGroup, held: Set<FileID>, inhabited: InhabitedNamespaces = .none) {
        self.inhabited = inhabited
        lostNames = LostNames(group)
        pipes = group.pipes
        processes = Set(group.processes.map(\.pid))
        guestIPCNamespace = group.initNamespaces.ipc
        sharedMemory = group.sharedMemory
        terminals = TerminalAssessor(group, held: held)
        fanotify = FanotifyAssessor(group, held: held)
        connections = TCPAssessor(
            held.compactMap { id in
                if case .inetSocket(let socket) = group.openFiles[id]?.kind { socket } else { nil }
            })
        for id in held {
            guard let file = group.openFiles[id] else { continue }
            switch file.kind {
            case .pipe(let pipe), .fifo(_, let pipe):
                if file.flags & 3 != 1 { readers[pipe, default: 0] += 1 }
                if file.flags & 3 != 0 { writers[pipe, default: 0] += 1 }
            case .path(let node) where node.isDeleted: ghosts.insert([node.device, node.inode])
            case .unixSocket(let socket):
                unixSockets[socket.inode] = socket
                if case .inode(let peer) = socket.peer { senders[peer, default: []].insert(socket.address?.name) }
            default: break
            }
        }
    }

    func assess(_ file: OpenFile, id: FileID) -> FileAssessment {
        switch file.kind {
        case .path(let node): assess(node)
        case .pipe(let id): assess(pipe: id, file: file, name: "pipe")
        case .fifo(let node, let id):
            assess(pipe: id, file: file, name: "named pipe \(node.path)")
        case .eventfd, .epoll, .signalfd, .timerfd: .full
        case .memfd(let id):
            sharedMemory[id]?.memfd == nil ? .refused("a memfd that could not be read") : .full
        case .inotify(let instance): assess(instance)
        case .fanotify(let group): fanotify.assess(group)
        case .unixSocket(let socket): assess(socket)
        case .inetSocket(let socket): assess(socket)
        case .netlinkSocket(let socket): socket.assessment
        case .packetSocket(let socket): socket.assessment
        // Where it is known which network namespaces come back.
        case .tunnel: .full
        case .posixQueue(let queue): assess(queue)
        // CRIU 3.17 knows none: the process opens it itself in place of what its descriptor leads to (see ``Prologue``).
        case .pidfd(let process):
            processes.contains(process)
                ? FileAssessment(treatment: .null) : .refused("a pidfd of a process that is not of the group, or has ended")
        case .terminal: terminals.assess(id)
        case .namespace(let kind, let number): inhabited.assess(kind, number)
        case .unsupported(let what): .refused(what)
        }
    }

    /// Whether a bound socket carries its name: a connected stream shares it with the listening socket that accepted it, and CRIU binds no stream
    /// that is connected.
    func keepsName(_ socket: UnixSocket) -> Bool {
        socket.address != nil && (socket.state != .connected || socket.type == UnixSocket.datagram)
    }

    /// The peer's inode when both ends are inside, and CRIU finds a way to connect them: they are connected to each other, or the peer has a name.
    func peer(of socket: UnixSocket) -> UInt64? {
        guard case .inode(let inode) = socket.peer, let other = unixSockets[inode] else { return nil }
        return other.peer == .inode(socket.inode) || other.address != nil ? inode : nil
    }

    /// Whether CRIU puts messages into a socket's queue: through its peer, a client, or a socket of its own for a datagram socket and the rest of a
    /// connection.
    func keepsQueue(_ socket: UnixSocket) -> Bool {
        socket.type == UnixSocket.datagram || peer(of: socket) != nil || socket.isHalfClosed || socket.state == .listening
    }

    /// Datagram sockets that are each connected to the next, in a circle of more than two: CRIU wants a peer before those who connect to it.
    private func isInRing(_ socket: UnixSocket) -> Bool {
        var current = socket
        for step in 1...max(1, unixSockets.count) {
            guard let inode = peer(of: current), let next = unixSockets[inode] else { return false }
            if inode == socket.inode { return step > 2 }
            current = next
        }
        return false
    }

    private func assess(_ node: FileNode) -> FileAssessment {
        switch node.type {
        case .regular where node.isDeleted && node.hasHiddenName && !lostNames.keepsFile(node):
            .degraded("\(node.path) was removed and has another name that is not seen there; it is a file of its own now")
        case .regular, .directory: .full
        case .symbolicLink: node.isDeleted ? .refused("symbolic link \(node.path), which was removed") : .full
        case .characterDevice(1, let minor) where [3, 5, 7, 8, 9].contains(minor): .full
        case .characterDevice(let major, _) where [4, 5, 136, 204, 229].contains(major) || (137...143).contains(major):
            .degraded("terminal \(node.path) is gone; its descriptors lead to /dev/null", .null)
        case .characterDevice: .refused("device \(node.path)")
        case .other: .refused("\(node.path), which is neither file, directory nor device")
        }
    }

    /// The agent makes it, in the guest's ipc namespace.
    private func assess(_ queue: PosixQueue) -> FileAssessment {
        let isPlain =
            !queue.name.bytes.isEmpty && queue.name.bytes.allSatisfy { 0x21..<0x7f ~= $0 && $0 != UInt8(ascii: "/") }
            && queue.name != "." && queue.name != ".."
        guard queue.ipcNamespace == guestIPCNamespace, isPlain else {
            return .refused("POSIX message queue /\(queue.name) of another ipc namespace than the guest's, or with an odd name")
        }
        return queue.hasNotification
            ? .degraded("nobody is told any more of a message that comes into queue /\(queue.name) (mq_notify)") : .full
    }

    private func assess(pipe id: PipeID, file: OpenFile, name: String) -> FileAssessment {
        guard let pipe = pipes[id] else { return .refused("a \(name) that could not be read") }
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

    /// Whether CRIU finds what is watched: by its name, or as a file without one that it makes again (inotify_resolve_remap of criu/fsnotify.c).
    func finds(_ watch: Inotify.Watch) -> Bool { watch.path != nil || ghosts.contains([watch.device, watch.inode]) }

    private func assess(_ instance: Inotify) -> FileAssessment {
        let nameless = instance.watches.filter { !finds($0) }.count
        if nameless > 0 {
            return .degraded("\(nameless) inotify watches of removed files, or of what only its mount namespace has, are lost")
        }
        if instance.unreadEvents > 0 {
            return .degraded("\(instance.unreadEvents) inotify events that were not read yet are lost")
        }
        return .full
    }

    private func assess(_ socket: UnixSocket) -> FileAssessment {
        if socket.options.hasUnsavedFilter { return .refused("a unix socket with a filter that is no classic BPF") }
        if let address = socket.address, keepsName(socket), let problem = problem(of: address) { return problem }
        if isInRing(socket) { return .refused("a unix datagram socket in a circle of sockets that are connected to the next") }
        switch socket.peer {
        case .none: break
        case .inode(let inode):
            if unixSockets[inode] == nil { return outside(socket, "a process outside the group") }
            if peer(of: socket) == nil {
                return .degraded("a unix datagram socket was connected to one without a name; it is unconnected now")
            }
        case .outside(let who): return outside(socket, who)
        case .closed:
            if socket.type == UnixSocket.datagram {
                return .degraded("a unix datagram socket was connected to one that is closed; it is unconnected now")
            }
            if !socket.isHalfClosed { return .refused("a unix connection whose other end is closed is in no state to go on") }
        }
        if socket.waitingConnections > 0 {
            return .degraded("\(socket.waitingConnections) unix connections were waiting to be accepted and are closed")
        }
        if socket.waitingClients > 1 {
            return .degraded("\(socket.waitingClients) waiting unix connections may be accepted in another order")
        }
        return assessContents(of: socket)
    }

    private func problem(of address: UnixSocket.Address) -> FileAssessment? {
        let length = address.name.bytes.count
        if length > UnixSocket.Address.nameLimit { return .refused("a unix socket with a damaged name") }
        if address.isAbstract { return nil }
        // CRIU counts the zero byte at the end.
        if address.isDeleted, length + 1 >= UnixSocket.Address.nameLimit {
            return .refused("a unix socket with a removed name that is too long for CRIU (\(address.name))")
        }
        if address.isDeleted { return nil }
        guard let path = address.renamedTo else { return nil }
        return address.name.bytes.first == UInt8(ascii: "/")
            ? .degraded("unix socket \(address.name) had been renamed to \(path); it has its first name now")
            : .refused("the directory of unix socket \(address.name), now \(path), cannot be told")
    }

    private func assessContents(of socket: UnixSocket) -> FileAssessment {
        let queue = socket.receiveQueue
        if socket.options.passesCredentials, queue.contains(where: \.carriesCredentials) {
            return .degraded("messages waiting in a unix socket lose the identity of their sender")
        }
        if socket.type == UnixSocket.datagram, !queue.isEmpty {
            let names = senders[socket.inode] ?? [nil]
            if names.count > 1 || queue.contains(where: { !names.contains($0.sender) }) {
                return .degraded("datagrams waiting in a unix socket may seem to come from another sender")
            }
        }
        if socket.options.pendingError != 0 {
            return .degraded("error \(socket.options.pendingError) of a unix socket is no longer reported")
        }
        if socket.options.locksFilter { return .degraded("the filter of a unix socket is no longer locked") }
        // CRIU makes sockets as root, before a process gets its own identity.
        if let peer = socket.peerIdentity, peer != UnixSocket.Identity(uid: 0, gid: 0) {
            return .degraded(
                "SO_PEERCRED tells root of a unix connection that was user \(peer.uid)'s, group \(peer.gid)'s")
        }
        return .full
    }

    private func outside(_ socket: UnixSocket, _ who: String) -> FileAssessment {
        // A stream whose peer is gone kills its writer with SIGPIPE: a log that leads nowhere is better.
        socket.type == UnixSocket.datagram
            ? .degraded("a unix datagram socket was connected to \(who); it is unconnected now")
            : .degraded("a unix connection to \(who) is cut; its descriptors lead to /dev/null", .null)
    }

    private func assess(_ socket: InetSocket) -> FileAssessment {
        let transport = socket.type == 1 ? "TCP" : socket.type == 2 ? "UDP" : "raw"
        if socket.options.hasUnsavedFilter { return .refused("a \(transport) socket with a filter that is no classic BPF") }
        // IPPROTO_TCP; CRIU makes no others.
        if socket.type == 1, socket.transport != 6 { return .refused("a stream socket of protocol \(socket.transport)") }
        if socket.sourceAddress.count != (socket.family == 10 ? 16 : 4) {
            return .refused("a \(transport) socket that could not be read")
        }
        if connection(of: socket) != nil { return .full }
        if let losses = socket.losses { return .degraded("a \(transport) socket: " + losses) }
        switch socket.state {
        case .closed: return socket.queuedItems > 0 ? .degraded("\(socket.queuedItems) received datagrams are lost") : .full
        case .listening:
            return socket.queuedItems > 0
                ? .degraded("\(socket.queuedItems) TCP connections were waiting to be accepted and are cut") : .full
        case .established:
            if socket.type != 1 {
                return socket.queuedItems > 0 ? .degraded("\(socket.queuedItems) received datagrams are lost") : .full
            }
            return cut(socket, "a TCP connection to port \(socket.destinationPort)")
        case .other(let state): return cut(socket, "a TCP connection to port \(socket.destinationPort) (\(state))")
        }
    }

    private func cut(_ socket: InetSocket, _ what: String) -> FileAssessment {
        .degraded("\(what) is cut" + (connections.concern(socket).map { ", for \($0)" } ?? ""))
    }

    /// The connection of a socket when it goes on.
    func connection(of socket: InetSocket) -> TCPConnection? {
        connections.concern(socket) == nil ? socket.connection : nil
    }
}

extension InetSocket {
    /// What CRIU does not save of a socket, in words.
    fileprivate var losses: String? {
        var losses: [String] = []
        if isCorked { losses.append("a datagram that was being put together (UDP_CORK) is lost") }
        if hasMemberships { losses.append("it is no longer in its multicast groups") }
        if choosesMulticastDevice { losses.append("its multicast packets go where routes say (IP_MULTICAST_IF)") }
        if raw?.hasChecksum == true { losses.append("its checksums (IPV6_CHECKSUM) are no longer made") }
        // CRIU connects a socket whose peer has a port.
        if type != 1, state == .established, destinationPort == 0 { losses.append("it is no longer connected") }
        if type == 3, raw == nil { losses.append("its options could not be read") }
        if options.pendingError != 0 { losses.append("error \(options.pendingError) is no longer reported") }
        if options.locksFilter { losses.append("its filter is no longer locked") }
        if losses.isEmpty { return nil }
        if queuedItems > 0 { losses.append("\(queuedItems) received packets are lost") }
        return losses.joined(separator: ", ")
    }
}
