import GuestMemory
import KernelObjects
import KernelTypes
import ProcessModel

extension GroupBuilder {
    /// `sysctl_mount_max` of fs/namespace.c by default.
    private static let mountLimit = 100_000
    /// The most steps that are taken to find where the guest sees what is mounted.
    private static let placeLimit = 10_000_000
    /// MNT_CURSOR: the place of somebody who reads /proc/PID/mounts, up to Linux 6.7.
    private static let cursorFlag: UInt64 = 0x1000_0000

    /// Reads the mounts that a process can reach from the root of its mount namespace, and the contents of those in memory.
    ///
    /// - Parameter context: the process's `struct fs_struct`, by which the root is found.
    mutating func mountNamespace(
        at namespace: VirtualAddress, seenFrom context: VirtualAddress, _ layout: MountLayout
    ) throws(MemoryFault) -> MountNamespace {
        let all = try mounts(of: namespace, layout)
        let root = try rootMount(of: context, among: all, layout)
        var below: [VirtualAddress: [VirtualAddress]] = [:]
        for mount in all where mount != root {
            below[try kernel.reader.pointer(layout.parent, of: mount), default: []].append(mount)
        }
        var result = MountNamespace()
        var waiting = [root]
        var memory: Set<VirtualAddress> = []
        var guest = GuestMounts()
        // Each mount is below one other, so none comes twice.
        while let address = waiting.popLast() {
            let mount = try self.mount(at: address, isRoot: address == root, guest: &guest, layout)
            result.mounts.append(mount)
            waiting += below[address] ?? []
            if mount.typeName == "tmpfs", mount.guestPath == nil {
                memory.insert(try kernel.reader.pointer(layout.superblock, of: address))
            }
        }
        for superblock in memory {
            let device = try kernel.reader.value(kernel.layout.files.superblock.device, of: superblock)
            result.memoryFilesystems[device] = try memoryFilesystem(at: superblock, device: device, layout)
        }
        return result
    }

    private func mounts(of namespace: VirtualAddress, _ layout: MountLayout) throws(MemoryFault) -> [VirtualAddress] {
        let reader = kernel.reader
        var found: [VirtualAddress] = []
        let head = namespace + layout.mounts.offset
        let fault =
            layout.mountsAreTree
            ? reader.forEach(
                inRedBlackTree: head, link: layout.mountLink, layout: kernel.layout.files.tree, limit: Self.mountLimit,
                { found.append($0) })
            : reader.forEach(onList: head, link: layout.mountLink, limit: Self.mountLimit, { found.append($0) })
        if let fault { throw fault }
        var mounts: [VirtualAddress] = []
        for mount in found where try reader.value(layout.flags, of: mount) & Self.cursorFlag == 0 { mounts.append(mount) }
        return mounts
    }

    /// The uppermost mount of a namespace that is not hidden. Below the root of each namespace lies the kernel's first filesystem, in which nothing can
    /// be reached any more: pivot_root(2) puts the new root onto it, as switch_root did with the guest's own. Since 7.0 (fs/nullfs.c) these are two,
    /// rootfs on nullfs.
    private func rootMount(of context: VirtualAddress, among all: [VirtualAddress], _ layout: MountLayout) throws(MemoryFault)
        -> VirtualAddress
    {
        let reader = kernel.reader
        let path = context + kernel.layout.files.filesystemContext.root.offset
        var mount = try reader.pointer(kernel.layout.files.paths.pathMount, of: path) - layout.embedded.offset
        guard all.contains(mount) else { throw MemoryFault(.damaged("root outside of its mount namespace"), at: mount) }
        /// From the top of the namespace downwards.
        var chain = [mount]
        while true {
            let parent = try reader.pointer(layout.parent, of: mount)
            if parent == mount { break }
            guard chain.count <= all.count else { throw MemoryFault(.damaged("mounts in a circle"), at: mount) }
            chain.insert(parent, at: 0)
            mount = parent
        }
        var depth = 0
        while depth + 1 < chain.count {
            let isCovered =
                try reader.pointer(layout.point, of: chain[depth + 1]) == reader.pointer(layout.root, of: chain[depth])
            let superblock = try reader.pointer(layout.superblock, of: chain[depth])
            let type = try reader.filesystem(ofSuperblock: superblock, layout: kernel.layout.files.superblock).typeName
            guard isCovered, depth == 0 || type == "rootfs" else { break }
            depth += 1
        }
        return chain[depth]
    }

    private func mount(
        at mount: VirtualAddress, isRoot: Bool, guest: inout GuestMounts, _ layout: MountLayout
    ) throws(MemoryFault) -> Mount {
        let reader = kernel.reader
        let fields = kernel.layout.files
        let superblock = try reader.pointer(layout.superblock, of: mount)
        let filesystem = try reader.filesystem(ofSuperblock: superblock, layout: fields.superblock)
        let parent = try reader.pointer(layout.parent, of: mount)
        let root = try reader.pointer(layout.root, of: mount)
        var point: [UInt8] = [UInt8(ascii: "/")]
        if !isRoot {
            let place = try reader.pointer(layout.point, of: mount)
            point = try reader.path(mount: parent + layout.embedded.offset, dentry: place, layout: fields.paths).bytes
        }
        let source = try reader.pointer(layout.source, of: mount)
        var result = Mount(
            id: try reader.int32(layout.id, of: mount), parentID: try reader.int32(layout.id, of: parent),
            device: filesystem.device, typeName: filesystem.typeName,
            source: KernelString(source.isNull ? "none" : try reader.memory.string(at: source, limit: 4096)),
            root: KernelString(bytes: try reader.pathInFilesystem(of: root, layout: fields.paths)),
            point: KernelString(bytes: point))
        result.isDeleted = try reader.isUnhashed(root, layout: fields.paths)
        let inode = try reader.pointer(fields.paths.dentryInode, of: root)
        // S_IFREG
        if !inode.isNull, try reader.uint32(fields.inode.mode, of: inode) & 0o170000 == 0o100000 {
            result.fileBytes = try reader.value(fields.inode.size, of: inode)
        }
        result.isOnBlockDevice = filesystem.isOnBlockDevice
        if filesystem.typeName == "binfmt_misc" {
            (result.formats, result.unknownFormats) = try formats(below: root, of: superblock, &guest)
        }
        let bits = try reader.value(layout.flags, of: mount)
        result.flags = MountFlags.forMount(bits)
        result.filesystemFlags = MountFlags.forFilesystem(try reader.value(fields.superblock.flags, of: superblock))
        let propagation = try propagation(of: mount, layout)
        result.sharedGroup = propagation.group
        result.isUnbindable = propagation.isUnbindable
        let master = try reader.pointer(layout.master, of: mount)
        if !master.isNull { result.masterGroup = try reader.int32(layout.group, of: master) }
        result.options = try reader.mountOptions(ofSuperblock: superblock, type: filesystem.typeName, layout)
        if isRoot, filesystem.typeName == "overlay" {
            result.overlay = try overlay(ofSuperblock: superblock, guest: &guest, layout)
        }
        if !result.isDeleted, let place = try guestPlace(of: root, on: superblock, group: result.masterGroup, &guest, layout) {
            result.guestPath = KernelString(bytes: place.path)
            result.guestFlags = MountFlags.forMount(try reader.value(layout.flags, of: place.mount))
            result.guestGroup = try self.propagation(of: place.mount, layout).group
            result.isWhollyInGuest = place.isWhole
        }
        return result
    }

    /// The group of a shared mount, 0 for others.
    private func propagation(of mount: VirtualAddress, _ layout: MountLayout) throws(MemoryFault)
        -> (group: Int32, isUnbindable: Bool)
    {
        let reader = kernel.reader
        let flags: UInt64
        if let own = layout.propagation {
            // T_SHARED, T_UNBINDABLE
            flags = try reader.value(own, of: mount) & 3
        } else {
            // MNT_SHARED, MNT_UNBINDABLE
            flags = try reader.value(layout.flags, of: mount) >> 12 & 3
        }
        return (flags & 1 == 0 ? 0 : try reader.int32(layout.group, of: mount), flags & 2 != 0)
    }

    /// Where the guest itself sees a directory or file of a filesystem: through a mount of that group, if there is one, or one that shows the whole of it.
    func guestPlace(
        of dentry: VirtualAddress, on superblock: VirtualAddress, group: Int32, _ guest: inout GuestMounts,
        _ mounts: MountLayout
    ) throws(MemoryFault) -> (path: [UInt8], mount: VirtualAddress, isWhole: Bool)? {
        let walk = FilesystemWalk(kernel: kernel.reader, layout: kernel.layout.files)
        let layout = kernel.layout.files
        var above: Set<VirtualAddress> = []
        var current = dentry
        // PATH_MAX
        while above.count < 4096, above.insert(current).inserted {
            current = try kernel.reader.pointer(layout.paths.dentryParent, of: current)
        }
        var found: (path: [UInt8], mount: VirtualAddress, isWhole: Bool)?
        let top = try kernel.reader.pointer(layout.superblock.root, of: superblock)
        var known = guest.ofSuperblock[superblock] ?? []
        if guest.ofSuperblock[superblock] == nil { known = try walk.guestMounts(of: superblock) }
        guest.ofSuperblock[superblock] = known
        guest.steps += known.count
        guard guest.steps <= Self.placeLimit else { throw MemoryFault(.damaged("too many mounts"), at: superblock) }
        for mount in known {
            let root = try kernel.reader.pointer(layout.catchUp.mountRoot, of: mount)
            guard above.contains(root) else { continue }
            let path = try kernel.reader.path(
                mount: mount + layout.catchUp.mountEmbedded.offset, dentry: dentry, layout: layout.paths)
            if path.isDeleted { continue }
            let own = try propagation(of: mount, mounts).group
            if own != 0, own == group { return (path.bytes, mount, root == top) }
            if found == nil || (root == top && found?.isWhole == false) { found = (path.bytes, mount, root == top) }
        }
        return found
    }
}

/// The guest's own mounts of each filesystem, looked up once.
struct GuestMounts {
    var ofSuperblock: [VirtualAddress: [VirtualAddress]] = [:]
    /// How many of them were looked at.
    var steps = 0
}
