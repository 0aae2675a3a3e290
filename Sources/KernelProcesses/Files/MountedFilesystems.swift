import GuestMemory
import KernelObjects

/// A filesystem whose last contents may be lost with the guest's memory, and the mount through which the guest's init sees it.
struct MountedFilesystem: Sendable {
    var identity: FilesystemIdentity
    /// `struct vfsmount *`.
    var mount: VirtualAddress
    /// What its paths begin with.
    var mountPoint: [UInt8]
    /// tmpfs: nothing of it outlives the guest.
    var isInMemory: Bool
    /// The guest's init does not see the whole of it.
    var isPart = false
    /// What changed on it last is not brought to where it lasts: it is no single disk's.
    var isForeign = false
    /// Its dentries on which something else is mounted, so that nothing below them is seen.
    var covered: Set<VirtualAddress> = []
}

/// Finds filesystems and the names of what is in them.
struct FilesystemWalk {
    let kernel: KernelReader
    let layout: FileLayout
    private(set) var gaps: [Gap] = []

    /// Filesystems whose contents last, though they are on no block device (`s_bdev`) or on several, by `file_system_type.name`.
    private static let foreignTypes: Set<String> = [
        "9p", "afs", "bcachefs", "btrfs", "ceph", "cifs", "fuse", "jffs2", "nfs", "nfs4", "orangefs", "smb3", "ubifs",
        "vboxsf", "virtiofs", "zfs",
    ]

    /// Devices of all filesystems that could be read (`s_dev`).
    private(set) var devices: Set<UInt64> = []

    /// The most filesystems, and mounts of one, that are believed.
    private static let limit = 1 << 16

    init(kernel: KernelReader, layout: FileLayout) {
        self.kernel = kernel
        self.layout = layout
    }

    mutating func note(_ fault: MemoryFault, object: String, field: String) {
        gaps.append(Gap(object: object, field: field, fault: fault))
    }

    /// Filesystems that can be written to and whose contents last, and those in memory; the root filesystem first.
    mutating func volatileFilesystems() -> [MountedFilesystem] {
        guard let head = kernel.symbols.addresses["super_blocks"] else {
            note(MemoryFault(.damaged("no symbol super_blocks"), at: .null), object: "filesystems", field: "super_blocks")
            return []
        }
        var superblocks: [VirtualAddress] = []
        let fault = kernel.forEach(onList: head, link: layout.superblock.link, limit: Self.limit) { superblocks.append($0) }
        if let fault { note(fault, object: "filesystems", field: "super_blocks") }
        var found: [MountedFilesystem] = []
        for superblock in superblocks {
            do throws(MemoryFault) {
                let identity = try kernel.filesystem(ofSuperblock: superblock, layout: layout.superblock)
                devices.insert(identity.device)
                let isInMemory = identity.typeName == "tmpfs"
                let isForeign = !identity.isOnBlockDevice && Self.foreignTypes.contains(identity.typeName)
                guard isInMemory || ((identity.isOnBlockDevice || isForeign) && !identity.isReadOnly),
                    !identity.isKernelInternal, let mount = try mount(of: superblock)
                else { continue }
                let root = try kernel.pointer(layout.superblock.root, of: superblock)
                let shown = try kernel.pointer(layout.catchUp.mountRoot, of: mount - layout.catchUp.mountEmbedded.offset)
                let point = try kernel.path(mount: mount, dentry: shown, layout: layout.paths)
                found.append(
                    MountedFilesystem(
                        identity: identity, mount: mount, mountPoint: point.bytes, isInMemory: isInMemory,
                        isPart: shown != root, isForeign: isForeign, covered: try coveredPlaces(of: mount)))
            } catch {
                note(error, object: "filesystem \(superblock)", field: "super_block")
            }
        }
        return found.sorted { $0.mountPoint.count < $1.mountPoint.count }
    }

    /// The dentries of a mount (`struct vfsmount *`) on which something else is mounted. A directory that is mounted on itself, as the roots of containers are, shows the
    /// same files.
    private func coveredPlaces(of mount: VirtualAddress) throws(MemoryFault) -> Set<VirtualAddress> {
        let fields = layout.catchUp
        var places: Set<VirtualAddress> = []
        var mounts: [VirtualAddress] = []
        let head = mount - fields.mountEmbedded.offset + fields.mountChildren.offset
        if let fault = kernel.forEach(onList: head, link: fields.mountChildLink, limit: Self.limit, { mounts.append($0) }) {
            throw fault
        }
        for child in mounts {
            let place = try kernel.pointer(fields.mountPoint, of: child)
            if try kernel.pointer(fields.mountRoot, of: child) != place { places.insert(place) }
        }
        return places
    }

    /// Whether the mount of a filesystem leads to a name.
    func shows(_ filesystem: MountedFilesystem, _ dentry: VirtualAddress) throws(MemoryFault) -> Bool {
        let root = try kernel.pointer(
            layout.catchUp.mountRoot, of: filesystem.mount - layout.catchUp.mountEmbedded.offset)
        var current = dentry
        // PATH_MAX
        for _ in 0..<4096 {
            if filesystem.covered.contains(current) { return false }
            if current == root { return true }
            let above = try kernel.pointer(layout.paths.dentryParent, of: current)
            // Of a name that was removed the last directory need not lead to the root.
            if above == current { return !filesystem.isPart }
            current = above
        }
        return false
    }

    /// The mount of a filesystem in the namespace of init; one of the whole filesystem, if there is one.
    func mount(of superblock: VirtualAddress) throws(MemoryFault) -> VirtualAddress? {
        let root = try kernel.pointer(layout.superblock.root, of: superblock)
        let mounts = try guestMounts(of: superblock)
        for mount in mounts where try kernel.pointer(layout.catchUp.mountRoot, of: mount) == root {
            return mount + layout.catchUp.mountEmbedded.offset
        }
        return mounts.first.map { $0 + layout.catchUp.mountEmbedded.offset }
    }

    /// The mounts (`struct mount *`) of a filesystem in the namespace of init.
    func guestMounts(of superblock: VirtualAddress) throws(MemoryFault) -> [VirtualAddress] {
        guard let proxy = kernel.symbols.addresses["init_nsproxy"] else { return [] }
        return try mounts(of: superblock, in: kernel.pointer(layout.catchUp.initialMountNamespace, of: proxy))
    }

    /// The mounts of a filesystem in a namespace (`struct mnt_namespace *`).
    func mounts(of superblock: VirtualAddress, in namespace: VirtualAddress) throws(MemoryFault) -> [VirtualAddress] {
        let fields = layout.catchUp
        var mounts: [VirtualAddress] = []
        if fields.mountsAreChain {
            var mount = try kernel.pointer(layout.superblock.mounts, of: superblock)
            while !mount.isNull {
                guard mounts.count < Self.limit else { throw MemoryFault(.damaged("too many mounts"), at: superblock) }
                mounts.append(mount)
                mount = try kernel.pointer(fields.mountLink, of: mount)
            }
        } else {
            let list = superblock + layout.superblock.mounts.offset
            if let fault = kernel.forEach(onList: list, link: fields.mountLink, limit: Self.limit, { mounts.append($0) }) {
                throw fault
            }
        }
        var own: [VirtualAddress] = []
        for mount in mounts where try kernel.pointer(fields.mountNamespace, of: mount) == namespace { own.append(mount) }
        return own
    }

    /// The dentries that lead to an inode.
    func aliases(of inode: VirtualAddress) throws(MemoryFault) -> [VirtualAddress] {
        var found: [VirtualAddress] = []
        let list = inode + layout.inode.aliases.offset
        if let fault = kernel.forEach(onHashList: list, link: layout.inode.aliasLink, limit: 4096, { found.append($0) }) {
            throw fault
        }
        return found
    }

    /// The dentries that the kernel remembers in a directory, of names that exist and of names that do not.
    func children(of directory: VirtualAddress) throws(MemoryFault) -> [VirtualAddress] {
        let fields = layout.catchUp
        var found: [VirtualAddress] = []
        let head = directory + fields.children.offset
        let limit = 1 << 20
        let fault =
            fields.childrenAreHashList
            ? kernel.forEach(onHashList: head, link: fields.childLink, limit: limit) { found.append($0) }
            : kernel.forEach(onList: head, link: fields.childLink, limit: limit) { found.append($0) }
        if let fault { throw fault }
        return found
    }
}
