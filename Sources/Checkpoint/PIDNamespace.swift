import ProcessModel

/// The pid namespace that a group comes back in: the guest's, or one of its own, which CRIU makes anew for the whole tree.
///
/// In a namespace of its own the root of the tree has to be the namespace's init, process 1 (criu/cr-restore.c), and all ids are those that the
/// namespace gave, so nothing of the new system can be in their way. The keeper, which is outside, is left behind: init adopts the orphans of
/// its namespace, which is what the keeper was for.
struct PIDNamespace: Sendable {
    /// As it is to come back: with the ids of its own namespace, if it has one.
    private(set) var group: ProtectedGroup
    /// Inode number of its own namespace.
    private(set) var number: UInt32?

    init(_ original: ProtectedGroup) {
        group = original
        let host = original.initNamespaces.pid
        let members = original.processes.filter { process in
            // The keeper has children in a namespace that it is not in itself.
            !process.hasKeepersName || own(process.pid, original) != nil
        }
        let namespaces = Set(members.map { own($0.pid, original) })
        guard host != 0, namespaces.count == 1, let only = namespaces.first, let number = only, number != host else { return }
        var ids: [Int32: Int32] = [:]
        for (id, numbers) in original.namespacePIDs {
            if let inside = numbers.first(where: { $0.namespace == number }) { ids[id] = inside.number }
        }
        // Somebody who is in the namespace has an id there, or its memory is damaged.
        guard members.allSatisfy({ (ids[$0.pid] ?? 0) > 0 }), members.contains(where: { ids[$0.pid] == 1 }) else { return }
        self.number = number
        group.processes = members
        translate(ids)
    }

    /// The innermost namespace of a process; nil: the guest's.
    private func own(_ pid: Int32, _ group: ProtectedGroup) -> UInt32? { group.namespacePIDs[pid]?.last?.namespace }

    /// Who is outside has no number inside: 0, as the kernel itself says it.
    private mutating func translate(_ ids: [Int32: Int32]) {
        func inside(_ id: Int32) -> Int32 { ids[id] ?? 0 }
        for index in group.processes.indices {
            var process = group.processes[index]
            process.pid = inside(process.pid)
            process.parentPID = inside(process.parentPID)
            process.processGroupID = inside(process.processGroupID)
            process.sessionID = inside(process.sessionID)
            for thread in process.threads.indices { process.threads[thread].tid = inside(process.threads[thread].tid) }
            for timer in process.posixTimers.indices {
                process.posixTimers[timer].threadID = process.posixTimers[timer].threadID.map(inside)
            }
            group.processes[index] = process
        }
        group.processes.sort { $0.pid < $1.pid }
        for id in group.openFiles.keys {
            if case .pidfd(let process) = group.openFiles[id]?.kind {
                group.openFiles[id]?.kind = .pidfd(process: inside(process))
            }
            guard let pid = group.openFiles[id]?.owner.pid, pid != 0 else { continue }
            group.openFiles[id]?.owner.pid = UInt32(bitPattern: inside(Int32(bitPattern: pid)))
        }
        for index in group.fileLocks.indices { group.fileLocks[index].pid = inside(group.fileLocks[index].pid) }
        for id in group.terminals.keys {
            guard var terminal = group.terminals[id] else { continue }
            terminal.sessionID = inside(terminal.sessionID)
            terminal.foregroundGroupID = inside(terminal.foregroundGroupID)
            group.terminals[id] = terminal
        }
        for index in group.obstacles.indices {
            group.obstacles[index].pid = group.obstacles[index].pid.flatMap { ids[$0] }
        }
    }

    /// What is lost by coming back in a namespace of its own.
    var obstacles: [Obstacle] {
        guard number != nil else { return [] }
        var found: [Obstacle] = []
        for process in group.processes where process.pid == 1 {
            guard process.threads.contains(where: { $0.parentDeathSignal != 0 }) else { continue }
            found.append(
                Obstacle(
                    .degraded, pid: 1, reason: "it no longer gets a signal when its parent, outside of its pid namespace, ends")
            )
        }
        return found
    }
}
