import ProcessModel

/// The user namespace that a group comes back in: the guest's, or one of its own, which CRIU makes anew for the whole tree, and with it all other namespaces
/// that the group has of its own.
///
/// In a namespace of its own every user and group of the images is the number that it has there (userns_uid of criu/namespaces.c), and what restores the
/// processes is no more than the namespace's root: what that may not do to the guest cannot come back.
struct GroupUsers: Sendable {
    /// As it is to come back: with the numbers of its own namespace, if it has one.
    private(set) var group: ProtectedGroup
    private(set) var namespace: UserNamespace?
    private(set) var obstacles: [Obstacle] = []

    /// What the kernel shows for a number that a namespace does not know (`overflowuid`).
    private static let nobody: UInt32 = 65534

    init(_ pids: PIDNamespace) {
        group = pids.group
        let host = group.initNamespaces.user
        let members = group.processes.filter { process in
            if case .zombie = process.state { return false }
            return process.namespaces.user != 0
        }
        let apart = members.filter { $0.namespaces.user != host }
        guard host != 0, !apart.isEmpty else { return }
        guard pids.number != nil, let number = members.first(where: { $0.pid == 1 })?.namespaces.user else {
            refuse(apart, "it is in a user namespace of its own, which comes back only with a pid namespace of its own")
            return
        }
        guard members.allSatisfy({ $0.namespaces.user == number }) else {
            refuse(apart, "it is in a user namespace that not all of its group are in")
            return
        }
        guard let found = group.userNamespaces[number] else {
            refuse(members, "its user namespace could not be read")
            return
        }
        namespace = found
        assess(found)
        assessOwners(number, of: members)
        for process in members { assess(process, found) }
        assessFiles(found)
        translate(found)
    }

    /// The guest's user and group that are 0 in the namespace.
    var root: (uid: UInt32, gid: UInt32)? {
        guard let namespace, let uid = namespace.users.outside(0), let gid = namespace.groups.outside(0) else { return nil }
        return (uid, gid)
    }

    private mutating func refuse(_ processes: [DeadProcess], _ reason: String) {
        obstacles += processes.map { Obstacle(.refused, pid: $0.pid, reason: reason) }
    }

    private mutating func add(_ severity: Obstacle.Severity, _ reason: String, pid: Int32? = nil) {
        obstacles.append(Obstacle(severity, pid: pid, reason: reason))
    }

    // MARK: - What cannot come back

    private mutating func assess(_ namespace: UserNamespace) {
        if namespace.level != 1 { add(.refused, "its user namespace lies in one that is not the guest's") }
        if !Self.isSound(namespace.users) || !Self.isSound(namespace.groups) {
            add(.refused, "the numbers of its user namespace are damaged")
        } else if root == nil {
            add(.refused, "its user namespace has no user 0 or no group 0, which CRIU needs to make one")
        }
        if namespace.owner != 0 {
            add(.degraded, "user \(namespace.owner), who made its user namespace, has no rights in it any more")
        }
        if namespace.deniesSetgroups {
            add(.degraded, "setgroups(2), which its user namespace denied (/proc/PID/setgroups), works in it now")
        }
    }

    /// As the kernel lets nobody write one (mappings_overlap, kernel/user_namespace.c).
    private static func isSound(_ map: IDMap) -> Bool {
        func isApart(_ start: KeyPath<IDMap.Extent, UInt32>) -> Bool {
            var last: UInt64 = 0
            for extent in map.extents.sorted(by: { $0[keyPath: start] < $1[keyPath: start] }) {
                let first = UInt64(extent[keyPath: start])
                guard extent.count > 0, first >= last, first + UInt64(extent.count) <= UInt64(UInt32.max) else { return false }
                last = first + UInt64(extent.count)
            }
            return true
        }
        return isApart(\.first) && isApart(\.lowerFirst)
    }

    /// What CRIU makes belongs to the namespace that it makes first; in what belonged to the guest the group would have rights that it had not.
    private mutating func assessOwners(_ number: UInt32, of members: [DeadProcess]) {
        let host = group.initNamespaces
        let kinds: [(String, KeyPath<Namespaces, UInt32>)] = [
            ("pid", \.pid), ("mount", \.mount), ("network", \.network), ("ipc", \.ipc), ("uts", \.uts), ("cgroup", \.cgroup),
            ("time", \.time),
        ]
        for (name, kind) in kinds {
            for own in Set(members.map { $0.namespaces[keyPath: kind] }).subtracting([0, host[keyPath: kind]]).sorted()
            where group.namespaceOwners[own] != number {
                add(.refused, "its \(name) namespace does not belong to its user namespace")
            }
        }
        let sharesNetwork = members.contains { $0.namespaces.network == host.network }
        let hasSockets = group.openFiles.values.contains { file in
            switch file.kind {
            case .inetSocket, .packetSocket: true
            default: false
            }
        }
        if sharesNetwork, hasSockets {
            add(.refused, "it has sockets of the guest's network namespace, in which its user namespace has no rights")
        }
    }

    private mutating func assess(_ process: DeadProcess, _ namespace: UserNamespace) {
        if let login = process.loginUID, namespace.users.inside(login) == nil {
            add(
                .degraded, "it has no audit login user (loginuid) any more: its user namespace does not know user \(login)",
                pid: process.pid)
        }
        // Lower than what it begins with asks for CAP_SYS_RESOURCE in the guest's namespace (__set_oom_adj, fs/proc/base.c); CRIU goes on without.
        if process.oomScoreAdjustment < 0 {
            add(
                .degraded,
                "its oom_score_adj is 0 now instead of \(process.oomScoreAdjustment), which its user namespace cannot give",
                pid: process.pid)
        }
        for thread in process.threads {
            let ids = thread.credentials
            let users = [ids.uid, ids.effectiveUID, ids.savedUID, ids.filesystemUID]
            let groups = [ids.gid, ids.effectiveGID, ids.savedGID, ids.filesystemGID]
            if let user = users.first(where: { namespace.users.inside($0) == nil }) {
                add(.refused, "it is user \(user), whom its user namespace does not know", pid: process.pid)
            } else if let group = groups.first(where: { namespace.groups.inside($0) == nil }) {
                add(.refused, "it is of group \(group), which its user namespace does not know", pid: process.pid)
            }
            let lost = ids.groups.filter { namespace.groups.inside($0) == nil }
            if !lost.isEmpty {
                let list = lost.map(String.init).joined(separator: ", ")
                add(.degraded, "it is no longer of group \(list), which its user namespace does not know", pid: process.pid)
            }
            // SCHED_FIFO and SCHED_RR; both ask for CAP_SYS_NICE in the guest's namespace (__sched_setscheduler, kernel/sched).
            if [1, 2].contains(thread.scheduling.policy) || thread.scheduling.nice < 0 {
                add(.refused, "thread \(thread.tid) has a priority that its user namespace cannot give", pid: process.pid)
            }
        }
    }

    /// Files are opened again by the namespace's root, which has rights over those only whose user and group it knows (capable_wrt_inode_uidgid, kernel/capability.c).
    private mutating func assessFiles(_ namespace: UserNamespace) {
        for file in group.openFiles.values {
            guard case .path(let node) = file.kind, !node.isDeleted,
                namespace.users.inside(node.uid) == nil || namespace.groups.inside(node.gid) == nil
            else { continue }
            // O_RDONLY, O_WRONLY, O_RDWR; O_PATH asks for no permission.
            let access: UInt32 = file.flags & 0o10000000 != 0 ? 0 : [4, 2, 6, 6][Int(file.flags & 3)]
            let permissions = root?.gid == node.gid ? node.mode >> 3 : node.mode
            if permissions & access != access {
                add(
                    .refused,
                    "\(node.path) can be opened by user \(node.uid) and group \(node.gid) alone, and its user namespace does not know both"
                )
            }
        }
    }

    // MARK: - Numbers

    private mutating func translate(_ namespace: UserNamespace) {
        var strangers = 0
        func user(_ id: inout UInt32) {
            if namespace.users.inside(id) == nil { strangers += 1 }
            id = namespace.users.inside(id) ?? Self.nobody
        }
        func group(_ id: inout UInt32) {
            if namespace.groups.inside(id) == nil { strangers += 1 }
            id = namespace.groups.inside(id) ?? Self.nobody
        }
        for index in self.group.processes.indices {
            let login = self.group.processes[index].loginUID
            self.group.processes[index].loginUID = login.flatMap(namespace.users.inside)
            for thread in self.group.processes[index].threads.indices {
                Self.translate(&self.group.processes[index].threads[thread].credentials, namespace)
            }
        }
        for id in self.group.openFiles.keys.sorted() {
            guard var file = self.group.openFiles[id] else { continue }
            if file.owner.pid != 0 {
                user(&file.owner.uid)
                user(&file.owner.effectiveUID)
            }
            switch file.kind {
            case .path(var node):
                // Whose a file with a name is, is on the disk.
                guard node.isDeleted else { break }
                user(&node.uid)
                group(&node.gid)
                file.kind = .path(node)
            case .terminal(var terminal):
                user(&terminal.node.uid)
                group(&terminal.node.gid)
                file.kind = .terminal(terminal)
            case .unixSocket(var socket):
                if var address = socket.address {
                    user(&address.uid)
                    group(&address.gid)
                    socket.address = address
                }
                if var peer = socket.peerIdentity {
                    user(&peer.uid)
                    group(&peer.gid)
                    socket.peerIdentity = peer
                }
                file.kind = .unixSocket(socket)
            default: break
            }
            self.group.openFiles[id] = file
        }
        for id in self.group.terminals.keys {
            guard var node = self.group.terminals[id]?.node else { continue }
            user(&node.uid)
            group(&node.gid)
            self.group.terminals[id]?.node = node
        }
        for id in self.group.sharedMemory.keys {
            guard var memfd = self.group.sharedMemory[id]?.memfd else { continue }
            user(&memfd.uid)
            group(&memfd.gid)
            self.group.sharedMemory[id]?.memfd = memfd
        }
        for number in self.group.ipcNamespaces.keys {
            self.group.ipcNamespaces[number]?.forEachPermissions { permissions in
                user(&permissions.uid)
                group(&permissions.gid)
                user(&permissions.creatorUID)
                group(&permissions.creatorGID)
            }
        }
        for number in self.group.mountNamespaces.keys {
            guard var mounts = self.group.mountNamespaces[number] else { continue }
            for device in mounts.memoryFilesystems.keys {
                guard var contents = mounts.memoryFilesystems[device] else { continue }
                for index in contents.entries.indices {
                    user(&contents.entries[index].uid)
                    group(&contents.entries[index].gid)
                }
                mounts.memoryFilesystems[device] = contents
            }
            for index in mounts.mounts.indices {
                mounts.mounts[index].options = Self.options(mounts.mounts[index].options, namespace)
            }
            self.group.mountNamespaces[number] = mounts
        }
        for number in self.group.networkNamespaces.keys.sorted() {
            guard var network = self.group.networkNamespaces[number] else { continue }
            for index in network.devices.indices { translateTunnel(&network.devices[index], namespace) }
            self.group.networkNamespaces[number] = network
        }
        if strangers > 0 {
            add(
                .degraded,
                "what belonged to users or groups that its user namespace does not know is nobody's now (\(strangers) times)")
        }
    }

    /// Who may open a program's tunnel. There is nobody who could stand for a stranger: the tunnel would be open to those who had no right to it.
    private mutating func translateTunnel(_ device: inout NetworkDevice, _ namespace: UserNamespace) {
        guard case .tunnel(var tunnel) = device.details else { return }
        for (field, map, what) in [
            (\NetworkDevice.Tunnel.owner, namespace.users, "user"), (\.group, namespace.groups, "group"),
        ] {
            // -1: nobody in particular.
            guard tunnel[keyPath: field] != -1 else { continue }
            let number = UInt32(bitPattern: tunnel[keyPath: field])
            if let inside = map.inside(number) {
                tunnel[keyPath: field] = Int32(bitPattern: inside)
            } else {
                let reason =
                    "\(device.name) in its network namespace belongs to \(what) \(number), which its user namespace does not know"
                add(.refused, reason)
            }
        }
        device.details = .tunnel(tunnel)
    }

    private static func translate(_ ids: inout Credentials, _ namespace: UserNamespace) {
        for field in [\Credentials.uid, \.effectiveUID, \.savedUID, \.filesystemUID] {
            ids[keyPath: field] = namespace.users.inside(ids[keyPath: field]) ?? nobody
        }
        for field in [\Credentials.gid, \.effectiveGID, \.savedGID, \.filesystemGID] {
            ids[keyPath: field] = namespace.groups.inside(ids[keyPath: field]) ?? nobody
        }
        ids.groups = ids.groups.compactMap(namespace.groups.inside)
    }

    /// What mount(2) is told, which counts users as who calls it does.
    private static func options(_ options: String, _ namespace: UserNamespace) -> String {
        options.split(separator: ",").map { option in
            let parts = option.split(separator: "=", maxSplits: 1)
            guard parts.count == 2, let id = UInt32(parts[1]) else { return String(option) }
            switch parts[0] {
            case "uid": return "uid=\(namespace.users.inside(id) ?? nobody)"
            case "gid": return "gid=\(namespace.groups.inside(id) ?? nobody)"
            default: return String(option)
            }
        }.joined(separator: ",")
    }

    // MARK: - Images

    /// `userns_entry` of images/userns.proto.
    static func message(_ namespace: UserNamespace) -> ProtobufMessage {
        ProtobufMessage { entry in
            for (field, map) in [(UInt32(1), namespace.users), (2, namespace.groups)] {
                for extent in map.extents {
                    entry.message(field) { message in
                        message.unsigned(1, extent.first)
                        message.unsigned(2, extent.lowerFirst)
                        message.unsigned(3, extent.count)
                    }
                }
            }
        }
    }
}

extension IPCNamespace {
    fileprivate mutating func forEachPermissions(_ change: (inout IPCPermissions) -> Void) {
        for index in segments.indices { change(&segments[index].permissions) }
        for index in messageQueues.indices { change(&messageQueues[index].permissions) }
        for index in semaphoreSets.indices { change(&semaphoreSets[index].permissions) }
    }
}
