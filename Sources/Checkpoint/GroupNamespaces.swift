import ProcessModel

/// The namespaces that a group comes back in: each is the guest's own, or one that CRIU makes anew for the whole tree.
///
/// CRIU gives all tasks of a tree the same uts, ipc and time namespace (criu/pstree.c). The keeper stays in those of the guest, but it only waits
/// for its children and asks none of these namespaces anything, so it does not count and goes where its group goes.
struct GroupNamespaces: Sendable {
    /// A kind that CRIU knows one of for a whole tree.
    enum Shared: String, Sendable, CaseIterable {
        case uts, ipc, time, cgroup

        func number(in namespaces: Namespaces) -> UInt32 {
            switch self {
            case .uts: namespaces.uts
            case .ipc: namespaces.ipc
            case .time: namespaces.time
            case .cgroup: namespaces.cgroup
            }
        }
    }

    private(set) var uts: UTSNamespace?
    private(set) var ipc: IPCNamespace?
    private(set) var time: TimeNamespace?
    private(set) var networks: GroupNetworks?
    private(set) var mounts: GroupMounts?
    /// The cgroup that is the root of its cgroup namespace; nil: it has none of its own.
    private(set) var cgroupRoot: KernelString?
    /// Inode number of the group's own pid namespace.
    let pidNumber: UInt32?
    /// Inode number of the group's own IPC namespace.
    private(set) var ipcNumber: UInt32?
    private(set) var obstacles: [Obstacle] = []

    /// - Parameters:
    ///   - group: with the numbers that it has in its own namespaces.
    ///   - pidNumber: of its own pid namespace.
    ///   - root: of its process tree.
    init(_ group: ProtectedGroup, pidNumber: UInt32?, root: DeadProcess?) {
        self.pidNumber = pidNumber
        let members = group.processes.filter { process in
            if case .zombie = process.state { return false }
            return !process.isKeeper(of: root)
        }
        if let number = shared(.uts, members, group.initNamespaces) {
            uts = group.utsNamespaces[number]
            if uts == nil { refuse(members, "its uts namespace could not be read") }
        }
        if let number = shared(.ipc, members, group.initNamespaces) {
            ipcNumber = number
            ipc = group.ipcNamespaces[number]
            if let ipc {
                obstacles += IPCAssessment.obstacles(of: ipc)
            } else {
                refuse(members, "its ipc namespace could not be read")
            }
        }
        if let number = shared(.time, members, group.initNamespaces) {
            time = group.timeNamespaces[number]
            if time == nil { refuse(members, "its time namespace could not be read") }
        }
        addNetworks(of: members, in: group)
        addMounts(of: members, in: group)
        if let number = shared(.cgroup, members, group.initNamespaces) { addCgroups(number, of: members, in: group) }
    }

    /// The keeper's executable is not in another namespace, so it has to be left behind.
    private mutating func addMounts(of members: [DeadProcess], in group: ProtectedGroup) {
        let host = group.initNamespaces.mount
        let apart = members.filter { ![0, host].contains($0.namespaces.mount) }
        guard host != 0, !apart.isEmpty else { return }
        guard pidNumber != nil, let root = members.first(where: { $0.pid == 1 })?.namespaces.mount else {
            refuse(apart, "it is in a mount namespace of its own, which comes back only with a pid namespace of its own")
            return
        }
        let numbers = Set(members.map(\.namespaces.mount)).subtracting([0])
        guard !numbers.contains(host) else {
            refuse(apart, "it is in a mount namespace that not all of its group are in")
            return
        }
        // The others are built out of the root's.
        let namespaces = ([root] + numbers.subtracting([root]).sorted()).compactMap { number in
            group.mountNamespaces[number].map { (number: number, namespace: $0) }
        }
        guard namespaces.count == numbers.count else {
            refuse(members, "its mount namespace could not be read")
            return
        }
        let cgroups = Set(members.map(\.namespaces.cgroup)).compactMap { group.cgroupNamespaces[$0] }
        let sockets = group.openFiles.values.compactMap { file in
            if case .unixSocket(let socket) = file.kind { socket.address?.name } else { nil }
        }
        mounts = GroupMounts(namespaces, cgroup: cgroups.first, sockets: Set(sockets))
        obstacles += mounts?.obstacles ?? []
    }

    /// In any but the root's a process of the group has gone by itself.
    private mutating func addNetworks(of members: [DeadProcess], in group: ProtectedGroup) {
        let host = group.initNamespaces.network
        let apart = members.filter { ![0, host].contains($0.namespaces.network) }
        guard host != 0, !apart.isEmpty else { return }
        let numbers = Set(members.map(\.namespaces.network)).subtracting([0])
        // CRIU makes namespaces for the root, and for others within those only (criu/pstree.c).
        guard !numbers.contains(host), let root = members.min(by: { $0.pid < $1.pid })?.namespaces.network, root != 0 else {
            refuse(apart, "it is in a network namespace that not all of its group are in, some are in the guest's")
            return
        }
        let namespaces = ([root] + numbers.subtracting([root]).sorted()).compactMap { number in
            group.networkNamespaces[number].map { (number: number, namespace: $0) }
        }
        guard namespaces.count == numbers.count else {
            refuse(members, "its network namespace could not be read")
            return
        }
        networks = GroupNetworks(namespaces)
        obstacles += networks?.obstacles ?? []
    }

    private mutating func addCgroups(_ number: UInt32, of members: [DeadProcess], in group: ProtectedGroup) {
        guard let root = group.cgroupNamespaces[number] else {
            refuse(members, "its cgroup namespace could not be read")
            return
        }
        guard !group.cgroups.contains(where: { $0.path == root }) else {
            cgroupRoot = root
            return
        }
        cgroupRoot = group.cgroupPath
        guard root != group.cgroupPath else { return }
        let reason = "the root of its cgroup namespace is \(group.cgroupPath) now, it was \(root)"
        obstacles.append(Obstacle(.degraded, pid: nil, reason: reason))
    }

    private mutating func refuse(_ processes: [DeadProcess], _ reason: String) {
        obstacles += processes.map { Obstacle(.refused, pid: $0.pid, reason: reason) }
    }

    /// The one namespace of all members that is not the guest's; nil: they are in the guest's. Members in different ones are refused.
    private mutating func shared(_ kind: Shared, _ members: [DeadProcess], _ host: Namespaces) -> UInt32? {
        let hostNumber = kind.number(in: host)
        guard hostNumber != 0 else { return nil }
        let numbers = Set(members.map { kind.number(in: $0.namespaces) }).subtracting([0])
        guard numbers.contains(where: { $0 != hostNumber }) else { return nil }
        guard numbers.count == 1 else {
            let apart = members.filter { ![0, hostNumber].contains(kind.number(in: $0.namespaces)) }
            refuse(apart, "it is in \(kind == .ipc ? "an" : "a") \(kind.rawValue) namespace that not all of its group are in")
            return nil
        }
        return numbers.first
    }

    /// The group with its System V shared memory as it can come back: what is attached from another IPC namespace, the guest's for instance, keeps its
    /// contents and stays shared within the group, but nobody finds it by its id any more.
    func withForeignSegmentsAnonymous(_ original: ProtectedGroup) -> (group: ProtectedGroup, obstacles: [Obstacle]) {
        var group = original
        var found: [Obstacle] = []
        for process in group.processes {
            guard let id = process.addressSpace, var space = group.addressSpaces[id] else { continue }
            var names: Set<Int32> = []
            for index in space.mappings.indices {
                guard case .systemVSharedMemory(let memory, let segment, let namespace, _) = space.mappings[index].kind,
                    namespace != ipcNumber
                else { continue }
                guard space.mappings[index].hugePageBytes == 0 else {
                    space.mappings[index].kind = .unsupported("System V shared memory of the guest, of huge pages")
                    continue
                }
                space.mappings[index].kind = .sharedAnonymous(memory)
                names.insert(segment)
            }
            group.addressSpaces[id] = space
            guard !names.isEmpty else { continue }
            let list = names.sorted().map { "\($0)" }.joined(separator: ", ")
            found.append(
                Obstacle(
                    .degraded, pid: process.pid,
                    reason:
                        "System V shared memory \(list) belongs to the guest, not to the group: the group keeps its contents, but its id and key are gone"
                ))
        }
        return (group, found)
    }
}
