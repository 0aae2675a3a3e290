import ProcessModel

/// PR_SET_THP_DISABLE, which CRIU 3.17 and 4.1 save and set for lazy migrations only (criu/mem.c).
///
/// It is inherited (MMF_INIT_MASK of include/linux/sched/coredump.h), so the agent has it for all processes of a group or for none. The keeper, which does
/// without any of its own, does not count.
struct HugePages: Sendable {
    /// Whether the whole group runs without transparent huge pages.
    let areDisabled: Bool
    let obstacles: [Obstacle]

    init(_ group: ProtectedGroup, root: DeadProcess?) {
        var with: [Int32] = []
        var without: [Int32] = []
        for process in group.processes where !process.isKeeper(of: root) {
            guard let space = process.addressSpace.flatMap({ group.addressSpaces[$0] }) else { continue }
            if space.transparentHugePagesDisabled { without.append(process.pid) } else { with.append(process.pid) }
        }
        areDisabled = with.isEmpty && !without.isEmpty
        obstacles =
            areDisabled
            ? []
            : without.map {
                Obstacle(
                    .degraded, pid: $0,
                    reason: "it had no transparent huge pages (PR_SET_THP_DISABLE), unlike others of its group")
            }
    }
}
