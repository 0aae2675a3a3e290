import ProcessModel

/// Who gets the signals of open files (F_SETOWN).
enum FileOwners {
    /// The group without owners that are not of it: in the next kernel their numbers are nobody's, which CRIU's restore fails for, or a stranger's.
    static func withoutStrangers(_ original: ProtectedGroup) -> (group: ProtectedGroup, obstacles: [Obstacle]) {
        var group = original
        let known = Set(
            group.processes.flatMap { [$0.pid, $0.processGroupID, $0.sessionID] + $0.threads.map(\.tid) })
        var strangers: Set<UInt32> = []
        for id in group.openFiles.keys {
            guard let pid = group.openFiles[id]?.owner.pid, pid != 0, !known.contains(Int32(bitPattern: pid)) else { continue }
            strangers.insert(pid)
            group.openFiles[id]?.owner.pid = 0
        }
        return (
            group,
            strangers.sorted().map {
                Obstacle(
                    .degraded, pid: nil,
                    reason: "process \($0), which is not of the group, gets no signals of its files any more (F_SETOWN)")
            }
        )
    }
}
