import ProcessModel

/// Files and directories below /proc/N that are open: CRIU opens them again by their path, which leads to the right process only when that comes back under its number.
enum ProcessFiles {
    /// - Parameter isNamespace: the group comes back in a pid namespace of its own, whose ids it has.
    static func obstacles(of group: ProtectedGroup, isNamespace: Bool) -> [Obstacle] {
        var known = Set(group.processes.flatMap { [$0.pid] + $0.threads.map(\.tid) })
        // The init process of the guest has the same number in each life.
        if !isNamespace { known.insert(1) }
        let named = group.openFiles.values.compactMap { file in
            if case .path(let node) = file.kind { node } else { nil }
        }
        let directories = group.filesystemContexts.values.flatMap { [$0.workingDirectory, $0.root] }
        var reasons: Set<String> = []
        for node in named + directories {
            guard let process = process(named: node.path) else { continue }
            if isNamespace, !isOfOwnMount(node, in: group) {
                reasons.insert("\(node.path) is open, which names a process by its id in the guest's pid namespace")
            } else if !isNamespace, !known.contains(process) {
                reasons.insert("\(node.path) is open, which names a process that is not of the group, or has ended")
            }
        }
        let ended = Set((named + directories).filter { endedProcess(of: $0, in: group) != nil }.map(\.path.description))
            .sorted()
        return reasons.sorted().map { Obstacle(.refused, pid: nil, reason: $0) }
            + (isNamespace ? ended : []).map {
                Obstacle(.degraded, pid: nil, reason: "\($0) is open, of a process that is not of the group; it has ended now")
            }
    }

    /// The process that a file of a /proc of the group's own names and that has ended: its id is free in the group's pid namespace, and CRIU has a process with it while the file is opened
    /// (collect_remap_dead_process of criu/files-reg.c).
    static func endedProcess(of node: FileNode, in group: ProtectedGroup) -> Int32? {
        guard let process = process(named: node.path), process > 0, isOfOwnMount(node, in: group) else { return nil }
        let isThere = group.processes.contains { $0.pid == process || $0.threads.contains { $0.tid == process } }
        return isThere ? nil : process
    }

    /// Whether it was reached through a mount that only the group has: a /proc there has the ids of the namespace.
    private static func isOfOwnMount(_ node: FileNode, in group: ProtectedGroup) -> Bool {
        guard let id = node.mountID else { return false }
        let mount = group.mountNamespaces.values.lazy.flatMap(\.mounts).first { $0.id == id }
        return mount.map { $0.guestPath == nil } ?? false
    }

    /// N of a path below /proc/N.
    private static func process(named path: KernelString) -> Int32? {
        let prefix = Array("/proc/".utf8)
        guard path.bytes.starts(with: prefix) else { return nil }
        let name = path.bytes.dropFirst(prefix.count).prefix { $0 != UInt8(ascii: "/") }
        return Int32(String(decoding: name, as: UTF8.self))
    }
}
