/// `struct mnt_namespace`, as its processes see it.
public struct MountNamespace: Sendable, Hashable {
    /// The mount that is its root comes first, and each of the others after the one that it is mounted on.
    public var mounts: [Mount]
    /// The contents of filesystems in memory that nobody outside of it can reach, by `s_dev`.
    public var memoryFilesystems: [UInt64: MemoryFilesystem]

    public init(mounts: [Mount] = [], memoryFilesystems: [UInt64: MemoryFilesystem] = [:]) {
        self.mounts = mounts
        self.memoryFilesystems = memoryFilesystems
    }

    /// Its root.
    public var root: Mount? { mounts.first }
}

/// `struct mount` and the filesystem that it shows.
public struct Mount: Sendable, Hashable {
    /// `mnt_id`, which is also in `FileNode.mountID`.
    public var id: Int32
    public var parentID: Int32
    /// `s_dev` of its filesystem, as `MKDEV(major, minor)` of the kernel.
    public var device: UInt64
    /// `file_system_type.name`
    public var typeName: String
    /// `mnt_devname`
    public var source: KernelString
    /// What of its filesystem it shows, as a path there.
    public var root: KernelString
    /// The name of that was removed.
    public var isDeleted = false
    /// Size of the file that it shows; nil: a directory.
    public var fileBytes: UInt64?
    /// Of a binfmt_misc: what is registered, and how many formats beyond that could not be read.
    public var formats: [BinaryFormat] = []
    public var unknownFormats = 0
    /// Where it is mounted, seen from the root of the namespace.
    public var point: KernelString
    /// MS_* of mount(2), without those of propagation.
    public var flags: UInt64 = 0
    /// MS_RDONLY, MS_SYNCHRONOUS and MS_DIRSYNC of the filesystem itself.
    public var filesystemFlags: UInt64 = 0
    /// What mount(2) is told as data.
    public var options = ""
    /// `mnt_group_id` of a shared mount; 0: it is not shared.
    public var sharedGroup: Int32 = 0
    /// `mnt_group_id` of the mount that it is a slave of; 0: of none.
    public var masterGroup: Int32 = 0
    public var isUnbindable = false
    /// Where the guest itself, outside of the namespace, sees the same place; nil: nowhere.
    public var guestPath: KernelString?
    /// Whether the guest sees it in a mount of the whole filesystem.
    public var isWhollyInGuest = false
    /// Whether it is a place on a disk.
    public var isOnBlockDevice = false
    /// MS_* of the guest's own mount of that place.
    public var guestFlags: UInt64 = 0
    /// `mnt_group_id` of that mount, if it is shared.
    public var guestGroup: Int32 = 0
    /// Of an overlay: what it was made of.
    public var overlay: OverlayLayers?

    public init(
        id: Int32, parentID: Int32, device: UInt64, typeName: String, source: KernelString, root: KernelString,
        point: KernelString
    ) {
        self.id = id
        self.parentID = parentID
        self.device = device
        self.typeName = typeName
        self.source = source
        self.root = root
        self.point = point
    }
}

extension Mount {
    /// Where the guest mounts memory as it boots, wherever it was booted from.
    public static let memoryOfTheGuest: Set<KernelString> = ["/run", "/dev/shm", "/tmp", "/run/lock"]

    /// Whether it shows something of the guest's memory that a new boot does not put there: a file below /run that a container's runtime has made, or a tmpfs
    /// that somebody has mounted, such as the /dev/shm of several containers.
    public var showsLostMemory: Bool {
        guard typeName == "tmpfs", !isDeleted, let path = guestPath, !Self.memoryOfTheGuest.contains(path) else { return false }
        return isWhollyInGuest || Self.memoryOfTheGuest.contains { path.isPath(atOrBelow: $0) }
    }
}

/// What an overlay shows (Documentation/filesystems/overlayfs.rst), by where the guest sees it.
public struct OverlayLayers: Sendable, Hashable {
    /// The topmost first.
    public var lower: [KernelString] = []
    /// nil: nothing can be written.
    public var upper: KernelString?
    public var work: KernelString?
    /// What else mount(2) is told, without the directories.
    public var options: [String] = []
    /// Why it cannot be made again; nil: it can.
    public var problem: String?

    public init() {}
}

/// What is in a tmpfs.
public struct MemoryFilesystem: Sendable, Hashable {
    /// One name of an object.
    public struct Entry: Sendable, Hashable {
        public enum Kind: Sendable, Hashable {
            case directory
            case regular
            case symbolicLink(target: KernelString)
            case characterDevice(major: UInt32, minor: UInt32)
            case blockDevice(major: UInt32, minor: UInt32)
            case namedPipe
            case socket
        }

        /// From the root of the filesystem, without a leading slash; empty for the root itself.
        public var path: KernelString
        public var kind: Kind
        public var inode: UInt64
        /// Permissions.
        public var mode: UInt32
        public var uid: UInt32
        public var gid: UInt32
        public var sizeBytes: UInt64
        public var modifiedSeconds: Int64
        /// It has extended attributes, which are not in the model.
        public var hasAttributes: Bool

        public init(
            path: KernelString, kind: Kind, inode: UInt64, mode: UInt32, uid: UInt32 = 0, gid: UInt32 = 0,
            sizeBytes: UInt64 = 0,
            modifiedSeconds: Int64 = 0, hasAttributes: Bool = false
        ) {
            self.path = path
            self.kind = kind
            self.inode = inode
            self.mode = mode
            self.uid = uid
            self.gid = gid
            self.sizeBytes = sizeBytes
            self.modifiedSeconds = modifiedSeconds
            self.hasAttributes = hasAttributes
        }
    }

    /// Directories before what is in them.
    public var entries: [Entry]

    public init(entries: [Entry]) {
        self.entries = entries
    }
}
