import ProcessModel

/// The cgroups that a group comes back in: the agent makes them, and puts each process where it was.
///
/// CRIU could do that too. But its images know neither filters of devices nor most settings, and with them it wants to be right about every cgroup of
/// the guest.
struct GroupCgroups: Sendable {
    private(set) var cgroups: [RecoveryManifest.Cgroup] = []
    /// From the group's own on; nil: it has no cgroup namespace.
    private(set) var namespaceRoot: String?
    private(set) var obstacles: [Obstacle] = []
    private var places: [KernelString: String] = [:]

    /// - Parameter namespaceRoot: the cgroup that is the root of its cgroup namespace.
    init(_ group: ProtectedGroup, namespaceRoot: KernelString?) {
        for cgroup in group.cgroups {
            guard let place = Self.place(of: cgroup.path, in: group.cgroupPath) else {
                obstacles.append(Obstacle(.degraded, pid: nil, reason: "cgroup \(cgroup.path) has a name that cannot be kept"))
                continue
            }
            places[cgroup.path] = place
            cgroups.append(
                RecoveryManifest.Cgroup(
                    path: place, controllers: cgroup.controllers, settings: cgroup.settings,
                    deviceFilters: cgroup.deviceFilters))
        }
        self.namespaceRoot = namespaceRoot.map { places[$0] ?? "" }
        // The empty path is that of a process whose cgroup nobody has asked for.
        var seen: Set<KernelString> = [group.cgroupPath, ""]
        for process in group.processes where places[process.cgroupPath] == nil && seen.insert(process.cgroupPath).inserted {
            let reason = "processes of cgroup \(process.cgroupPath) are in \(group.cgroupPath) now"
            obstacles.append(Obstacle(.degraded, pid: nil, reason: reason))
        }
        assessFreezing(group)
    }

    /// CRIU's tasks run as soon as they are restored, and nothing can be restored in a cgroup that is frozen.
    private mutating func assessFreezing(_ group: ProtectedGroup) {
        for cgroup in group.cgroups where cgroup.settings.contains(where: { $0.name == "cgroup.freeze" }) {
            guard group.processes.contains(where: { $0.cgroupPath.isPath(atOrBelow: cgroup.path) }) else { continue }
            let reason = "processes of cgroup \(cgroup.path), which was frozen, run for a moment before they are frozen again"
            obstacles.append(Obstacle(.degraded, pid: nil, reason: reason))
        }
    }

    /// From the group's own on; nil: the process comes back in that.
    func place(of process: DeadProcess) -> String? {
        places[process.cgroupPath].flatMap { $0.isEmpty ? nil : $0 }
    }

    private static func place(of path: KernelString, in root: KernelString) -> String? {
        guard path.isValidUTF8, path.bytes.starts(with: root.bytes) else { return nil }
        let rest = path.bytes.dropFirst(root.bytes.count)
        // cgroup_mkdir (kernel/cgroup/cgroup.c) lets every byte but the line's end into a name.
        guard rest.isEmpty || rest.first == UInt8(ascii: "/"), rest.count < 3000, rest.allSatisfy({ $0 >= 0x20 }) else {
            return nil
        }
        return String(decoding: rest.dropFirst(), as: UTF8.self)
    }
}
