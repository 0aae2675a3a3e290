/// What the dead kernel knew of files on disks and had not yet made durable.
///
/// A program sees its writes at once, the disk up to half a minute later. When processes are to go on where they were, the files must be what they
/// had seen, or a database would find a journal that it had removed.
public struct FileCatchUp: Sendable, Hashable {
    /// A file or directory as it was.
    public struct Entry: Sendable, Hashable {
        public var path: KernelString
        /// `s_dev` of its filesystem.
        public var device: UInt64
        public var inode: UInt64
        /// Type and permissions; a regular file, a directory, a symbolic link or a named pipe.
        public var mode: UInt32
        public var uid: UInt32
        public var gid: UInt32
        /// How many names it had (`i_nlink`).
        public var links: UInt32
        public var sizeBytes: UInt64
        /// Pages to write, ascending, the address being the offset in the file; the last one may reach beyond the file's end.
        public var runs: [PageRun]
        /// A process of a protected group has it open, or sees it in its mount namespace.
        public var isHeld: Bool
        /// It is to be what it was whatever the new system has made of it: a process has it open.
        public var isOpen: Bool
        /// The runs are all that it had, as on tmpfs: what they do not cover was never written, and is zeros.
        public var isWhole: Bool
        /// Where a symbolic link leads.
        public var target: KernelString?
        /// Another entry's path, which is another name of this file; this entry has no runs then.
        public var otherName: KernelString?
        /// When it was last written to and read, as programs see it (`i_mtime`, `i_atime`); nil: not read.
        public var modified: FileTime?
        public var accessed: FileTime?

        public init(
            path: KernelString, device: UInt64, inode: UInt64, mode: UInt32, uid: UInt32, gid: UInt32, links: UInt32 = 1,
            sizeBytes: UInt64, runs: [PageRun] = [], isHeld: Bool = false, isWhole: Bool = false
        ) {
            self.path = path
            self.device = device
            self.inode = inode
            self.mode = mode
            self.uid = uid
            self.gid = gid
            self.links = links
            self.sizeBytes = sizeBytes
            self.runs = runs
            self.isHeld = isHeld
            isOpen = isHeld
            self.isWhole = isWhole
        }
    }

    /// A name that led to nothing any more.
    public struct Removal: Sendable, Hashable {
        public var path: KernelString
        /// The inode that it had led to; nil: not known.
        public var inode: UInt64?

        public init(path: KernelString, inode: UInt64? = nil) {
            self.path = path
            self.inode = inode
        }
    }

    /// All names in a directory that changed: what is there under another one is a name that was removed, or renamed.
    public struct Listing: Sendable, Hashable {
        public var path: KernelString
        public var inode: UInt64
        public var names: [KernelString]

        public init(path: KernelString, inode: UInt64, names: [KernelString]) {
            self.path = path
            self.inode = inode
            self.names = names
        }
    }

    /// Something that should have been caught up and cannot be.
    public struct Omission: Sendable, Hashable {
        public var path: KernelString
        /// For an operator, lower case.
        public var reason: String
        public var isHeld: Bool
        /// What it concerns; nil: all of a filesystem, or something without a name.
        public var file: InodeIdentity?

        public init(path: KernelString, reason: String, isHeld: Bool, file: InodeIdentity? = nil) {
            self.path = path
            self.reason = reason
            self.isHeld = isHeld
            self.file = file
        }
    }

    /// A tmpfs that somebody had mounted in the guest and that the groups use: the next boot does not mount it by itself.
    public struct MemoryMount: Sendable, Hashable {
        /// Where.
        public var path: KernelString
        /// `mnt_devname`
        public var source: KernelString
        /// What mount(2) is told as data.
        public var options: String
        /// MS_* of mount(2).
        public var flags: UInt64
        /// `s_dev`, which programs see as `st_dev` of what is in it.
        public var device: UInt64

        public init(path: KernelString, source: KernelString, options: String, flags: UInt64, device: UInt64) {
            self.path = path
            self.source = source
            self.options = options
            self.flags = flags
            self.device = device
        }
    }

    /// One that lies in another comes after it.
    public var mounts: [MemoryMount] = []
    /// Directories before what is in them.
    public var entries: [Entry] = []
    public var removals: [Removal] = []
    /// Of directories of which all names are known.
    public var listings: [Listing] = []
    public var omissions: [Omission] = []

    public init() {}

    /// Filesystems of which not all could be looked at, by `s_dev`, with the reason.
    public var faults: [UInt64: String] = [:]
    /// Where filesystems of disks are mounted that something is caught up in.
    public var mountPoints: [KernelString] = []

    /// Pages in all entries.
    public var pageCount: UInt64 { entries.reduce(0) { $0 &+ $1.runs.reduce(0) { $0 &+ UInt64($1.count) } } }
}
