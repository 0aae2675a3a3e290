import ProcessModel

/// Files of a tmpfs that lost the name they were opened by and have another one, where whoever has them open does not see it.
///
/// They are still one file with that name. CRIU opens such a file through a name that is there for the restore only (REMAP_TYPE LINKED, `rfi_remap` of
/// criu/files-reg.c), in the directory of the lost one; here it is put into the archive that the tmpfs is filled from.
struct LostNames: Sendable {
    /// A name for the restore.
    struct Link: Sendable, Hashable {
        /// Seen from the root of the mount namespace.
        var path: KernelString
        var device: UInt64
        /// What the archive has.
        var entry: MemoryFilesystem.Entry
    }

    private let mounts: [Int32: Mount]
    private let filesystems: [UInt64: MemoryFilesystem]

    init(_ group: ProtectedGroup) {
        let namespaces = group.mountNamespaces.values
        mounts = Dictionary(namespaces.flatMap(\.mounts).map { ($0.id, $0) }) { first, _ in first }
        filesystems = namespaces.reduce(into: [:]) { known, namespace in
            known.merge(namespace.memoryFilesystems) { first, _ in first }
        }
    }

    /// Whether the file comes back as the one that has the other name.
    func keepsFile(_ node: FileNode) -> Bool { link(for: node, number: 0) != nil }

    /// - Parameter number: tells it from others.
    func link(for node: FileNode, number: UInt32) -> Link? {
        guard node.type == .regular, node.isDeleted, node.hasHiddenName, let mount = node.mountID.flatMap({ mounts[$0] }),
            mount.guestPath == nil, !mount.isDeleted, let filesystem = filesystems[mount.device],
            var entry = filesystem.entries.first(where: { $0.inode == node.inode && $0.kind == .regular }),
            let below = node.path.bytes.rest(below: mount.point.bytes), let slash = below.lastIndex(of: UInt8(ascii: "/"))
        else { return nil }
        let root = mount.root.bytes.drop { $0 == UInt8(ascii: "/") }
        let directory = KernelString(bytes: Array((root + below[..<slash]).drop { $0 == UInt8(ascii: "/") }))
        guard filesystem.entries.contains(where: { $0.path == directory && $0.kind == .directory }) else { return nil }
        let name = Array("/.xenpr-\(number)".utf8)
        let seen = Array(node.path.bytes.dropLast(below.count - slash))
        entry.path = KernelString(bytes: directory.bytes.isEmpty ? Array(name.dropFirst()) : directory.bytes + name)
        return Link(path: KernelString(bytes: seen + name), device: mount.device, entry: entry)
    }
}

extension [UInt8] {
    /// What follows a directory's path, with its slash; empty for the directory itself, nil for what is elsewhere.
    func rest(below directory: [UInt8]) -> [UInt8]? {
        let slash = UInt8(ascii: "/")
        let prefix = directory == [slash] ? [] : directory
        guard starts(with: prefix) else { return nil }
        let rest = Array(dropFirst(prefix.count))
        return rest.isEmpty || rest.first == slash ? (rest == [slash] ? [] : rest) : nil
    }
}
