import ProcessModel

/// The mount namespaces of a group: that of its root, whose root directory CRIU is told, and those that its other processes have made for themselves since,
/// which CRIU builds out of it (criu/mount.c, merge_mount_trees).
struct GroupMounts: Sendable {
    struct Member: Sendable {
        /// Inode number of the namespace.
        var number: UInt32
        /// What it is called in the images.
        var id: UInt32
        var plan: MountPlan
    }

    let root: Member
    let members: [Member]

    /// - Parameter namespaces: that of the root first.
    init?(_ namespaces: [(number: UInt32, namespace: MountNamespace)], cgroup: KernelString?, sockets: Set<KernelString>) {
        let all = namespaces.map(\.namespace)
        members = namespaces.enumerated().map { index, item in
            Member(
                number: item.number, id: KernelObjectIDs.ownMounts(index),
                plan: MountPlan(item.namespace, in: all, isRoot: index == 0, cgroup: cgroup, sockets: sockets))
        }
        guard let first = members.first else { return nil }
        root = first
    }

    var obstacles: [Obstacle] {
        // What concerns a mount that several namespaces have is said once.
        members.flatMap(\.plan.obstacles).reduce(into: []) { found, next in
            if !found.contains(where: { $0.reason == next.reason }) { found.append(next) }
        }
    }

    /// What the agent tells CRIU to bind, by the key in the images.
    var external: [(key: String, path: KernelString)] { members.flatMap(\.plan.external) }

    /// Formats of programs that are registered in what one of them shows.
    var formats: [BinaryFormat] {
        let all = Set(members.flatMap { $0.plan.namespace.mounts.flatMap(\.formats) })
        return all.filter(\.name.isValidUTF8).sorted { $0.name.description < $1.name.description }
    }

    /// The ids of all mounts.
    var mountIDs: Set<Int32> { Set(members.flatMap { $0.plan.namespace.mounts.map(\.id) }) }

    /// What is in the filesystems in memory that are mounted anew, by device; CRIU looks for the contents of each under that number.
    var memory: [(device: UInt64, contents: MemoryFilesystem?)] {
        var contents: [UInt64: MemoryFilesystem] = [:]
        for member in members { contents.merge(member.plan.namespace.memoryFilesystems) { first, _ in first } }
        return Set(members.flatMap(\.plan.memoryDevices)).sorted().map { ($0, contents[$0]) }
    }

    /// Whether a filesystem is mounted anew.
    func isNew(_ device: UInt64) -> Bool { members.contains { $0.plan.newDevices.contains(device) } }

    /// Whether one of them has no /proc, through which CRIU reaches a mount that it makes part of another's propagation (restore_one_sharing of criu/mount-v2.c); it did without before
    /// Linux 5.15.
    var lacksProcesses: Bool {
        !members.allSatisfy { $0.plan.namespace.mounts.contains { $0.typeName == "proc" && $0.point == "/proc" } }
    }

    /// The id in the images of the namespace that a process is in.
    func id(of process: DeadProcess) -> UInt32 { (members.first { $0.number == process.namespaces.mount } ?? root).id }

    func contains(_ number: UInt32) -> Bool { members.contains { $0.number == number } }
}
