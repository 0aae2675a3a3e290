import GuestMemory
import KernelTypes

/// `struct dentry`, `struct mount` and `struct path` (include/linux/dcache.h, fs/mount.h).
public struct PathLayout: Hashable, Sendable {
    public let dentryParent: Field
    public let dentryName: Field
    public let dentryNameLength: Field
    public let dentryInode: Field
    public let dentryHashBackLink: Field
    public let dentryFlags: Field
    let mountEmbedded: Field
    let mountParent: Field
    let mountPoint: Field
    let mountRoot: Field
    public let pathMount: Field
    public let pathDentry: Field

    public init(_ types: TypeTable) throws(KernelError) {
        let dentry = try types.structure("dentry")
        dentryParent = try dentry.field("d_parent")
        dentryName = try dentry.field("d_name.name")
        dentryNameLength = try dentry.field("d_name.len")
        dentryInode = try dentry.field("d_inode")
        dentryHashBackLink = try dentry.field("d_hash.pprev")
        dentryFlags = try dentry.field("d_flags")
        let mount = try types.structure("mount")
        mountEmbedded = try mount.field("mnt")
        mountParent = try mount.field("mnt_parent")
        mountPoint = try mount.field("mnt_mountpoint")
        mountRoot = try mount.field("mnt.mnt_root")
        let path = try types.structure("path")
        pathMount = try path.field("mnt")
        pathDentry = try path.field("dentry")
    }
}

/// A path of the guest, as `d_path` makes it.
public struct KernelPath: Hashable, Sendable {
    /// Absolute, from the root of the outermost mount.
    public var bytes: [UInt8]
    /// The name was removed (`d_unlinked`).
    public var isDeleted: Bool

    public init(bytes: [UInt8], isDeleted: Bool) {
        self.bytes = bytes
        self.isDeleted = isDeleted
    }
}

extension KernelReader {
    /// PATH_MAX; no path that a program can name is longer.
    private static let pathLimit = 4096

    /// The path of a `struct path` at `address`.
    public func path(at address: VirtualAddress, layout: PathLayout) throws(MemoryFault) -> KernelPath {
        try path(
            mount: pointer(layout.pathMount, of: address), dentry: pointer(layout.pathDentry, of: address), layout: layout)
    }

    /// The path of `dentry` seen through `mount` (a `struct vfsmount *`), across mount points, to the outermost root.
    public func path(
        mount: VirtualAddress, dentry: VirtualAddress, layout: PathLayout
    ) throws(MemoryFault) -> KernelPath {
        var mount = container(of: mount, layout.mountEmbedded)
        var dentry = dentry
        let isDeleted = try isUnhashed(dentry, layout: layout)
        var parts: [[UInt8]] = []
        var length = 0
        while length <= Self.pathLimit, parts.count < Self.pathLimit / 2 {
            let root = try pointer(layout.mountRoot, of: mount)
            let parent = try pointer(layout.dentryParent, of: dentry)
            if dentry == root || dentry == parent {
                let above = try pointer(layout.mountParent, of: mount)
                if above == mount || dentry != root {
                    let bytes = parts.reversed().flatMap { [UInt8(ascii: "/")] + $0 }
                    return KernelPath(bytes: bytes.isEmpty ? [UInt8(ascii: "/")] : bytes, isDeleted: isDeleted)
                }
                dentry = try pointer(layout.mountPoint, of: mount)
                mount = above
                length += 1
                continue
            }
            let name = try name(of: dentry, layout: layout)
            parts.append(name)
            length += name.count + 1
            dentry = parent
        }
        throw MemoryFault(.damaged("path longer than \(Self.pathLimit) bytes"), at: dentry)
    }

    /// The path of a dentry inside its own filesystem, without looking at mounts.
    public func pathInFilesystem(of dentry: VirtualAddress, layout: PathLayout) throws(MemoryFault) -> [UInt8] {
        var dentry = dentry
        var parts: [[UInt8]] = []
        var length = 0
        while length <= Self.pathLimit {
            let parent = try pointer(layout.dentryParent, of: dentry)
            if parent == dentry {
                let bytes = parts.reversed().flatMap { [UInt8(ascii: "/")] + $0 }
                return bytes.isEmpty ? [UInt8(ascii: "/")] : bytes
            }
            let name = try name(of: dentry, layout: layout)
            parts.append(name)
            length += name.count + 1
            dentry = parent
        }
        throw MemoryFault(.damaged("path longer than \(Self.pathLimit) bytes"), at: dentry)
    }

    /// The last component of a dentry's path.
    public func name(of dentry: VirtualAddress, layout: PathLayout) throws(MemoryFault) -> [UInt8] {
        let length = Int(try uint32(layout.dentryNameLength, of: dentry))
        // NAME_MAX
        guard length <= 255 else { throw MemoryFault(.damaged("name of \(length) bytes"), at: dentry) }
        let bytes = try memory.bytes(at: pointer(layout.dentryName, of: dentry), count: length)
        guard !bytes.contains(0) else { throw MemoryFault(.damaged("name with a zero byte"), at: dentry) }
        return bytes
    }

    /// Whether a dentry has a name and no place, as those of pipes, sockets and anonymous inodes have (`d_alloc_pseudo`, fs/dcache.c).
    public func isPlaceless(
        mount: VirtualAddress, dentry: VirtualAddress, layout: PathLayout
    ) throws(MemoryFault) -> Bool {
        guard try pointer(layout.dentryParent, of: dentry) == dentry else { return false }
        return try pointer(layout.mountRoot, of: container(of: mount, layout.mountEmbedded)) != dentry
    }

    /// `d_unhashed`: nobody can find the dentry by its name any more.
    public func isUnhashed(_ dentry: VirtualAddress, layout: PathLayout) throws(MemoryFault) -> Bool {
        if try pointer(layout.dentryParent, of: dentry) == dentry { return false }
        return try pointer(layout.dentryHashBackLink, of: dentry).isNull
    }
}
