import ProcessModel

/// Whether what the processes of a group have open can be reached through the mounts that the group comes back with.
enum MountedFiles {
    /// - Parameter mounts: those of its own mount namespaces; nil: it is in the guest's.
    static func obstacles(of group: ProtectedGroup, files: FileTable, in mounts: GroupMounts?) -> [Obstacle] {
        let known = mounts?.mountIDs ?? []
        var found: [Obstacle] = []
        func refuse(_ reason: String) { found.append(Obstacle(.refused, pid: nil, reason: reason)) }
        var used = files.held.files
        // The keeper, which is left behind, may be the only one that maps a file.
        for process in group.processes {
            guard let space = process.addressSpace.flatMap({ group.addressSpaces[$0] }) else { continue }
            used.formUnion(space.mappings.compactMap(\.kind.file) + [space.executable].compactMap { $0 })
        }
        let kept = used.filter { files.assessments[$0]?.treatment == .asItWas }
        for node in nodes(of: group, kept) {
            if let id = node.mountID {
                if !known.contains(id) { refuse("\(node.path) is open in a mount namespace that is not the group's") }
            } else if mounts != nil, !isDevice(node) {
                refuse("\(node.path) of the guest is open, which the group's mount namespace does not have")
            }
        }
        if mounts != nil, files.types.values.contains(.fanotify) {
            refuse("fanotify groups do not come back in a mount namespace of their own")
        }
        if let mounts { found += MountedTerminals(mounts, files.terminals?.made ?? []).obstacles }
        return found
    }

    private static func nodes(of group: ProtectedGroup, _ files: some Sequence<FileID>) -> [FileNode] {
        var nodes: Set<FileNode> = []
        for id in files {
            switch group.openFiles[id]?.kind {
            case .path(let node), .fifo(let node, _): nodes.insert(node)
            case .terminal(let terminal): nodes.insert(terminal.node)
            default: break
            }
        }
        for process in group.processes {
            guard let context = process.filesystemContext.flatMap({ group.filesystemContexts[$0] }) else { continue }
            nodes.formUnion([context.workingDirectory, context.root])
        }
        return nodes.sorted { ($0.path.description, $0.inode) < ($1.path.description, $1.inode) }
    }

    /// One without state is opened anew, in whatever namespace.
    private static func isDevice(_ node: FileNode) -> Bool {
        if case .characterDevice(1, _) = node.type { true } else { false }
    }
}
