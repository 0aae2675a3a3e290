import GuestMemory
import ProcessModel

/// Everything about a group's checkpoint that can be known before its first page is read: the tree, the files, each process's continuation, and the verdicts.
struct GroupPlan: Sendable {
    let group: ProtectedGroup
    let tree: ProcessTree
    let users: GroupUsers
    let namespaces: GroupNamespaces
    let hugePages: HugePages
    let cgroups: GroupCgroups
    let socketOptions: LateSocketOptions
    let packetPipes: PacketPipes
    let packetSockets: PacketSocketPlan
    let processes: [ProcessPlan]
    private(set) var files: FileTable
    /// Of the group as a whole.
    let obstacles: [Obstacle]

    init(_ whole: ProtectedGroup) {
        let (original, strangers) = FileOwners.withoutStrangers(whole)
        let pids = PIDNamespace(original)
        let users = GroupUsers(pids)
        self.users = users
        let tree = ProcessTree(users.group.processes, isNamespace: pids.number != nil)
        let namespaces = GroupNamespaces(users.group, pidNumber: pids.number, root: tree.root)
        self.namespaces = namespaces
        let (named, foreignSegments) = namespaces.withForeignSegmentsAnonymous(users.group)
        let (group, hiddenWatches) = namespaces.mounts?.withWatchesAsSeenInside(named) ?? (named, [])
        self.group = group
        let hugePages = HugePages(group, root: tree.root)
        self.hugePages = hugePages
        let cgroups = GroupCgroups(group, namespaceRoot: namespaces.cgroupRoot)
        self.cgroups = cgroups
        var descriptors: Set<FileID> = []
        for process in tree.ordered {
            guard let table = process.descriptorTable.flatMap({ group.descriptorTables[$0] }) else { continue }
            for descriptor in table.descriptors { descriptors.insert(descriptor.file) }
        }
        var files = FileTable(
            group, held: FilesHeld(in: group, descriptors: descriptors), networks: namespaces.networks,
            inhabited: InhabitedNamespaces(tree.ordered, in: namespaces, users))
        for (_, space) in group.addressSpaces.sorted(by: { $0.key.rawValue < $1.key.rawValue }) {
            if let executable = space.executable { files.addMapped(executable) }
            for mapping in space.mappings { if let file = mapping.kind.file { files.addMapped(file) } }
        }
        let socketOptions = LateSocketOptions(group, files: files)
        self.socketOptions = socketOptions
        let packetPipes = PacketPipes(group, files: files)
        self.packetPipes = packetPipes
        let packetSockets = PacketSocketPlan(group, files: files, hasNetworkNamespace: namespaces.networks != nil)
        self.packetSockets = packetSockets
        let found =
            group.obstacles + strangers + tree.obstacles + namespaces.obstacles + foreignSegments + hiddenWatches
            + hugePages.obstacles
            + cgroups.obstacles + socketOptions.obstacles + packetPipes.obstacles
            + packetSockets.obstacles + pids.obstacles + users.obstacles
            + ProcessFiles.obstacles(of: group, isNamespace: pids.number != nil)
            + MountedFiles.obstacles(of: group, files: files, in: namespaces.mounts)
            + GroupNetworks.obstacles(of: group, files: files, in: namespaces.networks)
        let connections = Set(files.connections.map(\.file))
        let calls = CallsAtWork(connections: connections)
        processes = tree.ordered.map { process in
            var plan = ProcessPlan(process, in: group, namespaces)
            plan.obstacles += Self.fileObstacles(of: process, in: group, files: files)
            plan.obstacles += calls.obstacles(of: process, in: group)
            if let obstacle = files.terminalObstacle(of: process) { plan.obstacles.append(obstacle) }
            plan.obstacles += found.filter { $0.pid == process.pid }
            return plan
        }
        self.tree = tree
        self.files = files
        let known = Set(tree.ordered.map(\.pid))
        obstacles = found.filter { $0.pid.map { !known.contains($0) } ?? true }
    }

    var verdict: Verdict {
        max(processes.map(\.verdict).max() ?? .refused, obstacles.map(\.verdict).max() ?? .full)
    }

    private static func fileObstacles(of process: DeadProcess, in group: ProtectedGroup, files: FileTable) -> [Obstacle] {
        var numbers: [FileID: [Int32]] = [:]
        for descriptor in process.descriptorTable.flatMap({ group.descriptorTables[$0] })?.descriptors ?? [] {
            numbers[descriptor.file, default: []].append(descriptor.number)
        }
        let space = process.addressSpace.flatMap { group.addressSpaces[$0] }
        for file in (space?.mappings.compactMap(\.kind.file) ?? []) + [space?.executable].compactMap({ $0 })
        where numbers[file] == nil {
            numbers[file] = []
        }
        var result: [Obstacle] = []
        for (file, way) in files.held.receivers.sorted(by: { $0.key < $1.key }) {
            guard let descriptors = numbers[way.holder], let assessment = files.assessments[file],
                let severity = assessment.severity
            else { continue }
            let place = "on the way to descriptor \(descriptors.map(String.init).joined(separator: ", ")): "
            result.append(Obstacle(severity, pid: process.pid, reason: place + assessment.reason))
        }
        for (file, descriptors) in numbers.sorted(by: { $0.key < $1.key }) {
            guard let assessment = files.assessments[file] else {
                result.append(Obstacle(.refused, pid: process.pid, reason: "a mapped file could not be read"))
                continue
            }
            guard let severity = assessment.severity else { continue }
            let place = descriptors.isEmpty ? "" : "descriptor \(descriptors.map(String.init).joined(separator: ", ")): "
            result.append(Obstacle(severity, pid: process.pid, reason: place + assessment.reason))
        }
        return result
    }

    /// The files image is complete only after the directories and descriptors were asked for.
    mutating func directory(_ node: FileNode) -> UInt32 { files.directory(node) }

    mutating func descriptorTarget(_ file: FileID) -> (entry: UInt32, type: FileImage.EntryType) {
        files.descriptorTarget(file)
    }
}

extension Mapping.Kind {
    /// The open file behind a mapping.
    var file: FileID? {
        switch self {
        case .privateFile(let file), .sharedFile(let file), .memfd(let file, _), .packetRing(let file, _): file
        default: nil
        }
    }

    /// The shared memory behind an anonymous mapping.
    var sharedMemory: SharedMemoryID? {
        if case .sharedAnonymous(let memory) = self { memory } else { nil }
    }
}
