import ProcessModel

/// The processes of a group as the tree that CRIU builds, and what of it cannot be built.
struct ProcessTree: Sendable {
    /// Parents before children; the root first.
    private(set) var ordered: [DeadProcess] = []
    private(set) var obstacles: [Obstacle] = []

    var root: DeadProcess? { ordered.first }

    /// - Parameter isNamespace: their ids are those of a pid namespace of their own, whose init is the root.
    init(_ processes: [DeadProcess], isNamespace: Bool = false) {
        var byPID: [Int32: DeadProcess] = [:]
        for process in processes {
            if byPID.updateValue(process, forKey: process.pid) != nil {
                obstacles.append(Obstacle(.refused, pid: process.pid, reason: "two processes have this id"))
            }
        }
        let roots = processes.filter { byPID[$0.parentPID] == nil || $0.parentPID == $0.pid }
        guard let root = roots.first else {
            obstacles.append(
                Obstacle(.refused, pid: nil, reason: processes.isEmpty ? "no process" : "no process is the root of the others"))
            return
        }
        if roots.count > 1 {
            let others = roots.dropFirst().map { "\($0.pid) (\($0.command))" }.joined(separator: ", ")
            obstacles.append(
                Obstacle(
                    .refused, pid: nil,
                    reason:
                        "not one process tree: \(root.pid) (\(root.command)) is not above \(others); start the work with xenpr-agent run"
                ))
            return
        }
        order(from: root, children: Dictionary(grouping: processes.filter { $0.pid != root.pid }, by: \.parentPID))
        if ordered.count < processes.count {
            obstacles.append(Obstacle(.refused, pid: nil, reason: "the process tree contradicts itself"))
        }
        checkSessions(byPID)
        checkIdentifiers(least: isNamespace ? 1 : 2)
    }

    private mutating func order(from root: DeadProcess, children: [Int32: [DeadProcess]]) {
        var seen: Set<Int32> = [root.pid]
        ordered = [root]
        var next = 0
        while next < ordered.count {
            for child in children[ordered[next].pid] ?? [] where seen.insert(child.pid).inserted { ordered.append(child) }
            next += 1
        }
    }

    /// What criu/pstree.c can rebuild: a process is in its parent's session, or leads its own, or was born in that of an ancestor; a session whose leader is dead
    /// can only be made by a helper below the root, for its children were given to the root when it died.
    private mutating func checkSessions(_ byPID: [Int32: DeadProcess]) {
        guard let root else { return }
        if root.sessionID != root.pid {
            obstacles.append(
                Obstacle(
                    .refused, pid: root.pid,
                    reason: "the root of the group is in somebody else's session; start the work with xenpr-agent run"))
        }
        for process in ordered.dropFirst() where process.sessionID != process.pid {
            guard let parent = byPID[process.parentPID], parent.sessionID != process.sessionID else { continue }
            if process.parentPID == root.pid { continue }
            var ancestor: DeadProcess? = parent
            // Bounded: `ordered` is a tree that was reached from the root.
            while let current = ancestor, current.pid != process.sessionID {
                ancestor = current.pid == root.pid ? nil : byPID[current.parentPID]
            }
            if ancestor == nil {
                obstacles.append(
                    Obstacle(
                        .refused, pid: process.pid, reason: "its session's leader is no ancestor, which CRIU cannot rebuild"))
            }
        }
    }

    /// No id may stand for two things: a session or process group whose leader is dead keeps its number.
    private mutating func checkIdentifiers(least: Int32) {
        var threads: Set<Int32> = []
        for process in ordered {
            for thread in process.threads.dropFirst() { threads.insert(thread.tid) }
        }
        for process in ordered {
            if threads.contains(process.pid) || threads.contains(process.sessionID) || threads.contains(process.processGroupID)
            {
                obstacles.append(
                    Obstacle(.refused, pid: process.pid, reason: "its process, group or session id is also a thread's"))
            }
            if process.pid < least || process.processGroupID < 1 || process.sessionID < 1 {
                obstacles.append(
                    Obstacle(
                        .refused, pid: process.pid, reason: "its process, group or session id is outside its pid namespace"))
            }
        }
    }

    /// Ids of the tree that must be free at restore.
    var largestPID: Int32 {
        ordered.reduce(0) { largest, process in
            process.threads.reduce(max(largest, process.pid, process.processGroupID, process.sessionID)) { max($0, $1.tid) }
        }
    }

    /// `pstree_entry` of images/pstree.proto.
    func messages() -> [ProtobufMessage] {
        ordered.map { process in
            ProtobufMessage { entry in
                entry.unsigned(1, UInt32(bitPattern: process.pid))
                entry.unsigned(2, UInt32(bitPattern: process.pid == root?.pid ? 0 : process.parentPID))
                entry.unsigned(3, UInt32(bitPattern: process.processGroupID))
                entry.unsigned(4, UInt32(bitPattern: process.sessionID))
                if process.threads.isEmpty { entry.unsigned(5, UInt32(bitPattern: process.pid)) }
                for thread in process.threads { entry.unsigned(5, UInt32(bitPattern: thread.tid)) }
            }
        }
    }
}
