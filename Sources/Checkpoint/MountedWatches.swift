import ProcessModel

extension GroupMounts {
    /// The group with the names of what its inotify instances watch as the root of its own mount namespace sees them, for there CRIU opens them (get_mark_path,
    /// criu/fsnotify.c); in the model they are the guest's.
    func withWatchesAsSeenInside(_ original: ProtectedGroup) -> (group: ProtectedGroup, obstacles: [Obstacle]) {
        var group = original
        var obstacles: [Obstacle] = []
        for id in group.openFiles.keys.sorted() {
            guard case .inotify(var instance) = group.openFiles[id]?.kind else { continue }
            for index in instance.watches.indices {
                guard let path = instance.watches[index].path else {
                    if let place = place(ofHidden: instance.watches[index]) {
                        instance.watches[index].path = place.path
                        instance.watches[index].mountID = place.mountID
                    }
                    continue
                }
                guard let inside = name(inside: path, device: instance.watches[index].device) else {
                    let reason = "\(path) is watched by inotify, which the group's mount namespace does not show"
                    obstacles.append(Obstacle(.refused, pid: nil, reason: reason))
                    continue
                }
                instance.watches[index].path = inside
            }
            group.openFiles[id]?.kind = .inotify(instance)
        }
        return (group, obstacles)
    }

    /// Where the namespace shows what the guest has at a path.
    private func name(inside path: KernelString, device: UInt64) -> KernelString? {
        let namespace = root.plan.namespace
        for mount in namespace.mounts where mount.device == device {
            guard let place = mount.guestPath, let rest = path.bytes.rest(below: place.bytes) else { continue }
            if let name = Self.name(of: rest, in: mount, of: namespace) { return name }
        }
        return nil
    }

    /// Where one of the namespaces shows what the guest has nowhere, such as a file of a tmpfs that was mounted there.
    private func place(ofHidden watch: Inotify.Watch) -> (path: KernelString, mountID: Int32)? {
        guard let path = watch.pathInFilesystem else { return nil }
        for member in members {
            for mount in member.plan.namespace.mounts where mount.device == watch.device && !mount.isDeleted {
                guard let rest = path.bytes.rest(below: mount.root.bytes),
                    let name = Self.name(of: rest, in: mount, of: member.plan.namespace)
                else { continue }
                return (name, mount.id)
            }
        }
        return nil
    }

    /// The name of what a mount shows, seen from the root of its namespace; nil: what is mounted over it hides it.
    private static func name(of rest: [UInt8], in mount: Mount, of namespace: MountNamespace) -> KernelString? {
        let point = mount.point.bytes == [UInt8(ascii: "/")] ? [] : mount.point.bytes
        let name = point + rest
        let isHidden = namespace.mounts.contains {
            $0.id != mount.id && $0.point.bytes.count > point.count && name.rest(below: $0.point.bytes) != nil
        }
        return isHidden ? nil : KernelString(bytes: name.isEmpty ? [UInt8(ascii: "/")] : name)
    }
}
