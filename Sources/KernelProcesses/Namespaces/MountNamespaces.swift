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
        if filesystem.typeName == "binfmt_misc" { result.formats = try formats(below: root, &guest) }
        let bits = try reader.value(layout.flags, of: mount)
        result.flags = MountFlags.forMount(bits)
        result.filesystemFlags = MountFlags.forFilesystem(try reader.value(fields.superblock.flags, of: superblock))
        let propagation = try propagation(of: mount, layout)
        result.sharedGroup = propagation.group
        result.isUnbindable = propagation.isUnbindable
        let master = try reader.pointer(layout.master, of: mount)
        if !master.isNull { result.masterGroup = try reader.int32(layout.group, of: master) }
        result.options = try options(ofSuperblock: superblock, type: filesystem.typeName, layout)
        if isRoot, filesystem.typeName == "overlay" {
            result.overlay = try overlay(ofSuperblock: superblock, guest: &guest, layout)
        }
        if !result.isDeleted, let place = try guestPlace(of: root, on: superblock, group: result.masterGroup, &guest, layout) {
            result.guestPath = KernelString(bytes: place.path)
            result.guestFlags = MountFlags.forMount(try reader.value(layout.flags, of: place.mount))
            result.guestGroup = try self.propagation(of: place.mount, layout).group
        }
        return result
    }

    /// The names in a binfmt_misc but for `register` and `status`.
    private func formats(below root: VirtualAddress, _ guest: inout GuestMounts) throws(MemoryFault) -> Int {
        let paths = kernel.layout.files.paths
        let walk = FilesystemWalk(kernel: kernel.reader, layout: kernel.layout.files)
        var names = 0
        let children = try walk.children(of: root)
        guest.steps += children.count
        guard guest.steps <= Self.placeLimit else { throw MemoryFault(.damaged("too many mounts"), at: root) }
        for child in children {
            guard try !kernel.reader.pointer(paths.dentryInode, of: child).isNull,
                try !kernel.reader.isUnhashed(child, layout: paths)
            else { continue }
            let name = try kernel.reader.name(of: child, layout: paths)
            if name != Array("register".utf8), name != Array("status".utf8) { names += 1 }
        }
        return names
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

    /// Where the guest itself sees a directory or file of a filesystem: through a mount of that group, if there is one.
    func guestPlace(
        of dentry: VirtualAddress, on superblock: VirtualAddress, group: Int32, _ guest: inout GuestMounts,
        _ mounts: MountLayout
    ) throws(MemoryFault) -> (path: [UInt8], mount: VirtualAddress)? {
        let walk = FilesystemWalk(kernel: kernel.reader, layout: kernel.layout.files)
        let layout = kernel.layout.files
        var above: Set<VirtualAddress> = []
        var current = dentry
        // PATH_MAX
        while above.count < 4096, above.insert(current).inserted {
            current = try kernel.reader.pointer(layout.paths.dentryParent, of: current)
        }
        var found: (path: [UInt8], mount: VirtualAddress)?
        var known = guest.ofSuperblock[superblock] ?? []
        if guest.ofSuperblock[superblock] == nil { known = try walk.guestMounts(of: superblock) }
        guest.ofSuperblock[superblock] = known
        guest.steps += known.count
        guard guest.steps <= Self.placeLimit else { throw MemoryFault(.damaged("too many mounts"), at: superblock) }
        for mount in known {
            guard above.contains(try kernel.reader.pointer(layout.catchUp.mountRoot, of: mount)) else { continue }
            let path = try kernel.reader.path(
                mount: mount + layout.catchUp.mountEmbedded.offset, dentry: dentry, layout: layout.paths)
            if path.isDeleted { continue }
            let own = try propagation(of: mount, mounts).group
            if own != 0, own == group { return (path.bytes, mount) }
            if found == nil { found = (path.bytes, mount) }
        }
        return found
    }

    /// What the filesystem would have to be mounted with to be the same again.
    private func options(ofSuperblock superblock: VirtualAddress, type: String, _ layout: MountLayout) throws(MemoryFault)
        -> String
    {
        let reader = kernel.reader
        let info = try reader.pointer(layout.superblockInfo, of: superblock)
        guard !info.isNull else { return "" }
        func octal(_ field: Field) throws(MemoryFault) -> String {
            String(try reader.value(field, of: info) & 0o7777, radix: 8)
        }
        switch type {
        case "tmpfs":
            guard let fields = layout.memory else { return "" }
            var options = "mode=0\(try octal(fields.mode))"
            // By default half of the memory, whatever that will be (shmem_default_max_blocks, shmem_default_max_inodes of mm/shmem.c).
            let half = (try reader.variable("_totalram_pages") ?? 0) / 2
            let blocks = try reader.value(fields.blocks, of: info)
            if blocks != half { options += ",size=\(blocks &* 4)k" }
            let inodes = try reader.value(fields.inodes, of: info)
            if inodes != half { options += ",nr_inodes=\(inodes)" }
            for (name, field) in [("uid", fields.uid), ("gid", fields.gid)] {
                let id = try reader.uint32(field, of: info)
                if id != 0 { options += ",\(name)=\(id)" }
            }
            return options
        case "devpts":
            guard let fields = layout.terminals else { return "newinstance" }
            var options = "newinstance,mode=0\(try octal(fields.mode)),ptmxmode=0\(try octal(fields.masterMode))"
            for (name, isSet, field) in [("uid", fields.hasUID, fields.uid), ("gid", fields.hasGID, fields.gid)]
            where try reader.value(isSet, of: info) != 0 { options += ",\(name)=\(try reader.uint32(field, of: info))" }
            return options
        case "proc":
            guard let fields = layout.processes else { return "" }
            var options: [String] = []
            let hidden = try reader.value(fields.hidden, of: info)
            if hidden != 0 { options.append("hidepid=\(hidden)") }
            let group = try reader.uint32(fields.group, of: info)
            if group != 0 { options.append("gid=\(group)") }
            // PROC_PIDONLY_ON of include/linux/proc_fs.h
            if try reader.value(fields.onlyProcesses, of: info) == 1 { options.append("subset=pid") }
            return options.joined(separator: ",")
        default: return ""
        }
    }
}

/// From the kernel's flags (include/linux/mount.h, include/linux/fs.h) to those of mount(2).
enum MountFlags {
    /// MNT_* and MS_*.
    private static let pairs: [(kernel: UInt64, call: UInt64)] = [
        (1 << 0, 1 << 1),  // NOSUID
        (1 << 1, 1 << 2),  // NODEV
        (1 << 2, 1 << 3),  // NOEXEC
        (1 << 3, 1 << 10),  // NOATIME
        (1 << 4, 1 << 11),  // NODIRATIME
        (1 << 5, 1 << 21),  // RELATIME
        (1 << 6, 1 << 0),  // READONLY, RDONLY
        (1 << 7, 1 << 8),  // NOSYMFOLLOW
    ]
    private static let strictAccessTime: UInt64 = 1 << 24

    static func forMount(_ bits: UInt64) -> UInt64 {
        let flags = pairs.reduce(0) { bits & $1.kernel == 0 ? $0 : $0 | $1.call }
        // The kernel takes relatime when it is told neither.
        return flags & (1 << 10 | 1 << 21) == 0 ? flags | strictAccessTime : flags
    }

    /// SB_RDONLY, SB_SYNCHRONOUS, SB_DIRSYNC, which are the same numbers.
    static func forFilesystem(_ bits: UInt64) -> UInt64 { bits & (1 << 0 | 1 << 4 | 1 << 7) }
}

/// The guest's own mounts of each filesystem, looked up once.
struct GuestMounts {
    var ofSuperblock: [VirtualAddress: [VirtualAddress]] = [:]
    /// How many of them were looked at.
    var steps = 0
}
