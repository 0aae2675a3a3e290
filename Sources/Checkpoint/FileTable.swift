import ProcessModel

/// The files image of a group: entries, their identifiers, and what the descriptor tables point at.
struct FileTable: Sendable {
    /// A file, directory, device or named pipe whose name was removed; it travels in the checkpoint.
    struct Ghost: Sendable {
        var entry: UInt32
        var node: FileNode
    }

    private(set) var entries: [ProtobufMessage] = []
    private(set) var ghosts: [Ghost] = []
    /// Files that are opened by a name for the restore only, which has an entry of its own.
    private(set) var links: [(entry: UInt32, name: UInt32, link: LostNames.Link)] = []
    /// Entries below /proc/N of processes that have ended.
    private(set) var ended: [(entry: UInt32, process: Int32)] = []
    private(set) var types: [UInt32: FileImage.EntryType] = [:]
    /// Made by the agent.
    private(set) var lent: [RecoveryManifest.LentFile] = []
    private(set) var queues: [(socket: UnixSocket, receiver: UInt32)] = []
    /// TCP connections that go on, with their sockets.
    private(set) var connections: [(file: FileID, socket: InetSocket, connection: TCPConnection)] = []
    /// Judgement of each file that is held or mapped.
    private(set) var assessments: [FileID: FileAssessment] = [:]

    private(set) var terminals: TerminalTable?

    private let group: ProtectedGroup
    private let networks: GroupNetworks?
    private let assessor: FileAssessor
    /// Files that descriptors lead to. Only they may stand in the image beside mapped files: CRIU trips over a pipe or socket that nobody holds.
    let held: FilesHeld
    private var nextID: UInt32
    private var null: UInt32?
    private var terminalFiles: [FileID] = []
    private var directories: [FileNode: UInt32] = [:]
    private var ghostsByInode: [String: UInt32] = [:]
    private var added: Set<FileID> = []

    /// - Parameter networks: those of its own; nil: it is in the guest's.
    init(_ group: ProtectedGroup, held: FilesHeld, networks: GroupNetworks?, inhabited: InhabitedNamespaces) {
        self.group = group
        self.networks = networks
        self.held = held
        assessor = FileAssessor(group, held: held.files, inhabited: inhabited)
        nextID = (group.openFiles.keys.map(\.rawValue).max() ?? 0) &+ 1
        for id in held.order {
            guard let file = group.openFiles[id] else {
                assessments[id] = .refused("an open file that could not be read")
                continue
            }
            let assessment = assess(file, id: id)
            assessments[id] = assessment
            if assessment.treatment == .asItWas { add(file, id: id) }
        }
        let places = Dictionary(uniqueKeysWithValues: held.queueOrder.enumerated().map { ($1.rawValue, $0) })
        queues.sort { (places[$0.receiver] ?? .max, $0.receiver) < (places[$1.receiver] ?? .max, $1.receiver) }
        addTerminals()
    }

    private mutating func addTerminals() {
        var next = nextID
        let table = TerminalTable(group, assessor: assessor.terminals, ids: terminalFiles) {
            defer { next &+= 1 }
            return next
        }
        nextID = next
        for id in terminalFiles { types[id.rawValue] = table.reopened.contains(id) ? .regular : .terminal }
        entries += table.files
        for ghost in table.ghosts { addGhost(ghost.node, entry: ghost.entry) }
        terminals = table
    }

    /// Where the mounts are that fanotify groups have marks on. The root is always there.
    var markedMounts: [String] {
        var paths: Set<String> = []
        for (id, type) in types where type == .fanotify {
            guard case .fanotify(let fanotify) = group.openFiles[FileID(rawValue: id)]?.kind else { continue }
            for case .mount(_, let path?) in fanotify.marks.map(\.target) where path.description != "/" {
                paths.insert(path.description)
            }
        }
        return paths.sorted()
    }

    /// What a process is to be told about its controlling terminal.
    func terminalObstacle(of process: DeadProcess) -> Obstacle? { assessor.terminals.obstacle(of: process) }

    private func assess(_ file: OpenFile, id: FileID) -> FileAssessment {
        let assessment: FileAssessment
        if case .tunnel(let tunnel) = file.kind {
            assessment = networks?.assessment(of: tunnel) ?? .refused("a tunnel of the guest's network (\(tunnel.node.path))")
        } else {
            assessment = assessor.assess(file, id: id)
        }
        if case .pidfd = file.kind, assessment.severity == nil, held.receivers[id] != nil {
            return .degraded("a pidfd on its way through a unix socket leads to /dev/null", .null)
        }
        guard assessment.severity != .refused, held.unsendable.contains(id) else { return assessment }
        return .degraded("descriptors on their way through a unix socket are lost, for CRIU could not send them again")
    }

    /// The entry that a descriptor leads to, and its type.
    mutating func descriptorTarget(_ id: FileID) -> (entry: UInt32, type: FileImage.EntryType) {
        if assessments[id]?.treatment == .asItWas, let type = types[id.rawValue] { return (id.rawValue, type) }
        return (nullDevice(), .regular)
    }

    /// Adds a file that is only mapped or is an executable.
    mutating func addMapped(_ id: FileID) {
        guard !added.contains(id), assessments[id] == nil, let file = group.openFiles[id] else { return }
        switch file.kind {
        case .path, .memfd:
            assessments[id] = .full
            add(file, id: id)
        default: assessments[id] = .refused("a mapping of something that is no file")
        }
    }

    /// The entry for a directory that a process has as its root or works in.
    mutating func directory(_ node: FileNode) -> UInt32 {
        if let known = directories[node] { return known }
        let id = takeID()
        directories[node] = id
        types[id] = .regular
        addGhost(node, entry: id)
        // O_PATH is how CRIU itself writes them down: O_RDONLY is enough to go there.
        entries.append(FileImage.regular(id: id, node: node, flags: 0, position: 0, owner: FileOwner(), checksSize: false))
        return id
    }

    private mutating func takeID() -> UInt32 {
        defer { nextID &+= 1 }
        return nextID
    }

    private mutating func nullDevice() -> UInt32 {
        if let null { return null }
        let id = takeID()
        null = id
        types[id] = .regular
        let node = FileNode(path: "/dev/null", type: .characterDevice(major: 1, minor: 3), mode: 0)
        // O_RDWR
        entries.append(
            FileImage.regular(
                id: id, node: node, flags: 2, position: FileImage.noPosition, owner: FileOwner(), checksSize: false))
        return id
    }

    private mutating func append(_ id: FileID, _ type: FileImage.EntryType, _ entry: ProtobufMessage) {
        types[id.rawValue] = type
        entries.append(entry)
    }

    private mutating func add(_ file: OpenFile, id: FileID) {
        guard added.insert(id).inserted else { return }
        let raw = id.rawValue
        switch file.kind {
        case .path(let node): addPath(node, file: file, id: id)
        case .pipe(let pipe): append(id, .pipe, FileImage.pipe(id: raw, pipe: pipe, file: file))
        case .fifo(let node, let pipe):
            entries.append(
                FileImage.regular(id: raw, node: node, flags: file.flags, position: 0, owner: file.owner, checksSize: false))
            append(id, .fifo, FileImage.fifo(id: raw, pipe: pipe))
            addGhost(node, entry: raw)
        case .eventfd(let counter, true): lend(.semaphore(counter: counter), file, id: id)
        case .eventfd(let counter, false): append(id, .eventfd, FileImage.eventfd(id: raw, counter: counter, file: file))
        case .epoll(let targets): append(id, .epoll, FileImage.epoll(id: raw, targets: restorable(targets, of: id), file: file))
        case .timerfd(let timer): append(id, .timerfd, FileImage.timerfd(id: raw, timer: timer, file: file))
        case .signalfd(let mask): append(id, .signalfd, FileImage.signalfd(id: raw, mask: mask, file: file))
        case .memfd(let memory): append(id, .memfd, FileImage.memfd(id: raw, memory: memory, file: file))
        case .inotify(let instance):
            append(id, .inotify, FileImage.inotify(id: raw, instance: instance, file: file) { assessor.finds($0) })
        case .fanotify(let group): append(id, .fanotify, FileImage.fanotify(id: raw, group: group, file: file))
        case .unixSocket(let socket):
            append(
                id, .unixSocket,
                SocketImage.unix(
                    id: raw, socket: socket, file: file, peer: assessor.peer(of: socket), keepsName: assessor.keepsName(socket),
                    network: networks?.id(ofSocket: socket.options))
            )
            guard assessor.keepsQueue(socket) else { break }
            var receiver = socket
            if held.unsendable.contains(id) {
                for index in receiver.receiveQueue.indices { receiver.receiveQueue[index].files = [] }
            }
            queues.append((receiver, raw))
        case .inetSocket(let socket):
            let connection = assessor.connection(of: socket)
            append(
                id, .inetSocket,
                SocketImage.inet(
                    id: raw, socket: socket, connection: connection, file: file,
                    network: networks?.id(ofSocket: socket.options)))
            if let connection { connections.append((id, socket, connection)) }
        case .netlinkSocket(let socket):
            let network = networks?.id(ofSocket: socket.options)
            append(id, .netlinkSocket, SocketImage.netlink(id: raw, socket: socket, file: file, network: network))
        case .packetSocket(let socket):
            let network = networks?.id(ofSocket: socket.options)
            append(id, .packetSocket, SocketImage.packet(id: raw, socket: socket, file: file, network: network))
        case .tunnel(let tunnel):
            entries.append(
                FileImage.regular(
                    id: raw, node: tunnel.node, flags: file.flags, position: FileImage.noPosition, owner: file.owner,
                    checksSize: false))
            append(id, .tunnel, FileImage.tunnel(id: raw, tunnel, network: networks?.id(ofNumber: tunnel.networkNamespace)))
        case .namespace(let kind, let number):
            guard let namespace = assessor.inhabited.id(kind, number) else { break }
            append(id, .namespace, FileImage.namespace(id: raw, kind: kind, namespace: namespace, file: file))
        case .terminal: terminalFiles.append(id)
        case .posixQueue(let queue): lend(.queue(queue, contents: "queue-\(raw)"), file, id: id)
        case .pidfd, .unsupported: break
        }
    }

    private mutating func lend(_ kind: RecoveryManifest.LentFile.Kind, _ file: OpenFile, id: FileID) {
        let name = "xenpr-lent/\(id.rawValue)"
        lent.append(RecoveryManifest.LentFile(name: name, flags: FileImage.reopenFlags(file.flags), kind: kind))
        append(id, .regular, FileImage.lent(id: id.rawValue, name: name, flags: file.flags))
    }

    private mutating func addPath(_ node: FileNode, file: OpenFile, id: FileID) {
        var position = file.position
        if case .characterDevice = node.type { position = FileImage.noPosition }
        // A file that others may go on writing has no size to insist on; the file catch-up gives it the one it had.
        append(
            id, .regular,
            FileImage.regular(
                id: id.rawValue, node: node, flags: file.flags, position: position, owner: file.owner,
                checksSize: !held.files.contains(id) || file.flags & 3 == 0))
        addGhost(node, entry: id.rawValue)
    }

    private mutating func addGhost(_ node: FileNode, entry: UInt32) {
        if let process = ProcessFiles.endedProcess(of: node, in: group) {
            ended.append((entry, process))
            return
        }
        guard node.isDeleted else { return }
        if let link = assessor.lostNames.link(for: node, number: entry) {
            let name = takeID()
            var named = node
            named.path = link.path
            named.isDeleted = false
            links.append((entry, name, link))
            entries.append(
                FileImage.regular(id: name, node: named, flags: 0, position: 0, owner: FileOwner(), checksSize: false))
            return
        }
        // All descriptions of one inode lead to one ghost.
        let key = "\(node.device):\(node.inode)"
        if ghostsByInode[key] == nil { ghostsByInode[key] = entry }
        ghosts.append(Ghost(entry: entry, node: node))
    }

    /// The ghost file's number for an entry: that of the first entry of the same inode.
    func ghostNumber(_ ghost: Ghost) -> UInt32 {
        ghostsByInode["\(ghost.node.device):\(ghost.node.inode)"] ?? ghost.entry
    }

    /// CRIU registers targets by descriptor number in the process that opens the epoll instance. A file that was registered under a number it no
    /// longer has there is registered under one that it has, which only its owner's own EPOLL_CTL_MOD could tell apart.
    private mutating func restorable(_ targets: [EpollTarget], of id: FileID) -> [EpollTarget] {
        let holder = opener(of: id)
        var free: [FileID: [Int32]] = [:]
        for descriptor in holder?.descriptorTable.flatMap({ group.descriptorTables[$0] })?.descriptors ?? [] {
            free[descriptor.file, default: []].append(descriptor.number)
        }
        var kept: [EpollTarget] = []
        // Those that have their number still come first, so that no other takes it.
        for keepsNumber in [true, false] {
            for var target in targets {
                guard let file = target.file, let open = group.openFiles[file],
                    assessor.assess(open, id: file).treatment == .asItWas,
                    let numbers = free[file], let first = numbers.first
                else { continue }
                let isThere = numbers.contains(target.descriptor)
                guard keepsNumber == isThere else { continue }
                if !isThere { target.descriptor = first }
                free[file]?.removeAll { $0 == target.descriptor }
                kept.append(target)
            }
        }
        // Those of processes the process registers itself.
        let lost = targets.count { target in
            guard let file = target.file, case .pidfd = group.openFiles[file]?.kind else { return true }
            return free[file]?.contains(target.descriptor) != true
        }
        if kept.count < lost {
            assessments[id] = .degraded(
                "\(lost - kept.count) registrations of an epoll instance are lost with what they watched")
        }
        return kept
    }

    /// The process that opens a file: the first that has it, or for one that only a message holds, the first that has the sender of the message.
    private func opener(of id: FileID) -> DeadProcess? {
        var file = id
        for _ in 0...held.receivers.count {
            guard let receiver = held.receivers[file]?.receiver else { break }
            file = receiver
            guard case .unixSocket(let socket) = group.openFiles[receiver]?.kind, let inode = assessor.peer(of: socket) else {
                continue
            }
            file =
                held.files.sorted().first { other in
                    if case .unixSocket(let peer) = group.openFiles[other]?.kind { peer.inode == inode } else { false }
                } ?? receiver
        }
        return group.processes.sorted { $0.pid < $1.pid }.first { process in
            let table = process.descriptorTable.flatMap { group.descriptorTables[$0] }
            return table?.descriptors.contains { $0.file == file } ?? false
        }
    }
}
