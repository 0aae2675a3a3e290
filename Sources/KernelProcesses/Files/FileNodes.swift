import GuestMemory
import KernelObjects
import ProcessModel

/// What matters of the filesystem that an inode is on.
struct FilesystemIdentity: Hashable, Sendable {
    var superblock: VirtualAddress
    /// `s_dev`.
    var device: UInt64
    var typeName: String
    var isOnBlockDevice: Bool
    /// SB_NOUSER or SB_KERNMOUNT: nobody can name what is in it (pipefs, sockfs, anon_inodefs, the kernel's own tmpfs).
    var isKernelInternal: Bool
    var isReadOnly: Bool
}

extension KernelReader {
    /// The filesystem of a superblock.
    func filesystem(ofSuperblock superblock: VirtualAddress, layout: SuperblockLayout) throws(MemoryFault) -> FilesystemIdentity
    {
        let flags = try value(layout.flags, of: superblock)
        let type = try pointer(layout.type, of: superblock)
        return FilesystemIdentity(
            superblock: superblock, device: try value(layout.device, of: superblock),
            typeName: try memory.string(at: pointer(layout.typeName, of: type), limit: 32),
            isOnBlockDevice: try !pointer(layout.blockDevice, of: superblock).isNull,
            // SB_NOUSER is bit 31, SB_KERNMOUNT bit 22, SB_RDONLY bit 0 (include/linux/fs.h).
            isKernelInternal: flags >> 31 & 1 == 1 || flags >> 22 & 1 == 1, isReadOnly: flags & 1 == 1)
    }
}

extension FileReader {
    func filesystem(ofInode inode: VirtualAddress) throws(MemoryFault) -> FilesystemIdentity {
        try kernel.filesystem(ofSuperblock: kernel.pointer(layout.inode.superblock, of: inode), layout: layout.superblock)
    }

    /// The object that the `struct path` at `address` leads to.
    mutating func node(ofPathAt address: VirtualAddress) throws(MemoryFault) -> FileNode {
        let dentry = try kernel.pointer(layout.paths.pathDentry, of: address)
        let inode = try kernel.pointer(layout.paths.dentryInode, of: dentry)
        let path = try kernel.path(at: address, layout: layout.paths)
        return try node(inode: inode, path: path, mount: kernel.pointer(layout.paths.pathMount, of: address))
    }

    private mutating func node(
        inode: VirtualAddress, path: KernelPath, mount: VirtualAddress
    ) throws(MemoryFault) -> FileNode {
        let fields = layout.inode
        guard !inode.isNull else { throw MemoryFault(.damaged("open path without an inode"), at: inode) }
        let mode = try kernel.uint32(fields.mode, of: inode)
        let number = try kernel.value(fields.device, of: inode)
        // MKDEV keeps 20 bits for the minor number (include/linux/kdev_t.h).
        let type: FileNode.FileType =
            switch mode & 0o170000 {
            case 0o100000: .regular
            case 0o040000: .directory
            case 0o020000: .characterDevice(major: UInt32(truncatingIfNeeded: number >> 20), minor: UInt32(number & 0xfffff))
            case 0o120000: .symbolicLink
            default: .other
            }
        let filesystem = try filesystem(ofInode: inode)
        var node = FileNode(
            path: KernelString(bytes: path.bytes), type: type, isDeleted: path.isDeleted, device: filesystem.device,
            inode: try kernel.value(fields.number, of: inode), mode: mode, sizeBytes: try kernel.value(fields.size, of: inode),
            uid: try kernel.uint32(fields.uid, of: inode), gid: try kernel.uint32(fields.gid, of: inode))
        node.mountID = try foreignMount(mount)
        if filesystem.typeName == "overlay" { node.layer = try layer(ofOverlayInode: inode) }
        if path.isDeleted {
            node.modified = try kernel.modified(inode, fields)
            node.accessed = try kernel.accessed(inode, fields)
        }
        if path.isDeleted, try kernel.uint32(fields.links, of: inode) > 0 {
            if let (name, place) = try remainingName(of: inode, mount: mount) {
                node.path = KernelString(bytes: name)
                node.isDeleted = false
                node.mountID = try foreignMount(place)
            } else {
                node.hasHiddenName = true
            }
        }
        if node.isDeleted, type == .regular { try noteDeleted(node, inode: inode, filesystem: filesystem) }
        return node
    }

    /// The id of a mount that is not in the guest's own mount namespace; nil for one that is.
    private func foreignMount(_ visible: VirtualAddress) throws(MemoryFault) -> Int32? {
        let fields = layout.catchUp
        let mount = visible - fields.mountEmbedded.offset
        guard let own = guestMountNamespace, try kernel.pointer(fields.mountNamespace, of: mount) != own else { return nil }
        return try kernel.int32(fields.mountID, of: mount)
    }

    /// The most names of an inode, and mounts of its filesystem, in which another name is looked for.
    private static let nameLimit = 64
    private static let mountLimit = 1024

    /// Another name of an inode of which one name was removed, and the mount that shows it: the one that it was opened through, or another of the same namespace.
    private func remainingName(of inode: VirtualAddress, mount: VirtualAddress) throws(MemoryFault)
        -> (name: [UInt8], mount: VirtualAddress)?
    {
        let fields = layout.catchUp
        var names: [VirtualAddress] = []
        _ = kernel.forEach(onHashList: inode + layout.inode.aliases.offset, link: layout.inode.aliasLink, limit: 4096) {
            dentry in
            if names.count < Self.nameLimit, (try? kernel.isUnhashed(dentry, layout: layout.paths)) == false {
                names.append(dentry)
            }
        }
        if names.isEmpty { return nil }
        let namespace = try kernel.pointer(fields.mountNamespace, of: mount - fields.mountEmbedded.offset)
        let walk = FilesystemWalk(kernel: kernel, layout: layout)
        let others =
            namespace.isNull ? [] : try walk.mounts(of: kernel.pointer(layout.inode.superblock, of: inode), in: namespace)
        let visible = [mount] + others.prefix(Self.mountLimit).map { $0 + fields.mountEmbedded.offset }
        for dentry in names {
            let above = try directories(above: dentry)
            for candidate in visible {
                let root = try kernel.pointer(fields.mountRoot, of: candidate - fields.mountEmbedded.offset)
                guard above.contains(root) else { continue }
                let path = try kernel.path(mount: candidate, dentry: dentry, layout: layout.paths)
                if !path.isDeleted { return (path.bytes, candidate) }
            }
        }
        return nil
    }

    /// A dentry and all that it lies in.
    private func directories(above dentry: VirtualAddress) throws(MemoryFault) -> Set<VirtualAddress> {
        var above: Set<VirtualAddress> = []
        var current = dentry
        // PATH_MAX
        while above.count < 4096, above.insert(current).inserted {
            current = try kernel.pointer(layout.paths.dentryParent, of: current)
        }
        return above
    }

    /// The inode that a file of an overlay has in the layer that is written to.
    private func layer(ofOverlayInode inode: VirtualAddress) throws(MemoryFault) -> InodeIdentity? {
        guard let overlays else { return nil }
        let upper = try kernel.pointer(overlays.upper, of: kernel.container(of: inode, overlays.inode))
        guard !upper.isNull else { return nil }
        let below = try kernel.pointer(layout.paths.dentryInode, of: upper)
        guard !below.isNull else { return nil }
        return InodeIdentity(
            device: try filesystem(ofInode: below).device, inode: try kernel.value(layout.inode.number, of: below))
    }

    /// A file of an overlay has its contents in the layer that is written to, or still in one below.
    private mutating func noteDeletedOnOverlay(_ node: FileNode, inode: VirtualAddress) throws(MemoryFault) {
        var upper = VirtualAddress(0)
        if let overlays { upper = try kernel.pointer(overlays.upper, of: kernel.container(of: inode, overlays.inode)) }
        guard !upper.isNull else {
            obstacles.append(
                Obstacle(
                    .refused, pid: nil, reason: "deleted file \(node.path) has its contents in a lower layer of an overlay"))
            return
        }
        let below = try kernel.pointer(layout.paths.dentryInode, of: upper)
        let disk = try filesystem(ofInode: below)
        guard disk.isOnBlockDevice, try kernel.value(layout.inode.size, of: below) == node.sizeBytes else {
            throw MemoryFault(.damaged("file of an overlay whose layer has another one"), at: inode)
        }
        try noteDeleted(node, inode: below, filesystem: disk)
    }

    /// Remembers where the contents of a file without a name are: in the page cache alone, once the disk is replayed.
    private mutating func noteDeleted(
        _ node: FileNode, inode: VirtualAddress, filesystem: FilesystemIdentity
    ) throws(MemoryFault) {
        let identity = InodeIdentity(device: node.device, inode: node.inode)
        guard deletedFileMappings[identity] == nil else { return }
        if filesystem.typeName == "overlay" {
            try noteDeletedOnOverlay(node, inode: inode)
            return
        }
        let mapping = try kernel.pointer(layout.inode.mapping, of: inode)
        deletedFileMappings[identity] = mapping
        guard filesystem.isOnBlockDevice else { return }
        // `i_blocks` counts 512 bytes; what it has beyond the cached pages is on the disk only, where the journal's replay frees it.
        let onDisk = try kernel.value(layout.inode.blocks, of: inode) / 8
        let cached = try kernel.value(layout.pages.pageCount, of: mapping)
        let needed = min(onDisk, node.sizeBytes / 4096 &+ (node.sizeBytes % 4096 == 0 ? 0 : 1))
        if cached < needed {
            obstacles.append(
                Obstacle(
                    .refused, pid: nil,
                    reason:
                        "deleted file \(node.path) has contents that were not in memory (\(cached) of \(needed) pages cached)"))
        }
    }
}
