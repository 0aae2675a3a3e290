/// `struct file`: an open file description.
public struct OpenFile: Sendable {
    /// What it is open on.
    public enum Kind: Sendable {
        /// A regular file, a directory, or a character device that is as good as new when opened again (null, zero, full, random, urandom).
        case path(FileNode)
        case pipe(PipeID)
        /// A named pipe, its queue being `pipe`.
        case fifo(FileNode, pipe: PipeID)
        case eventfd(counter: UInt64, isSemaphore: Bool)
        case epoll([EpollTarget])
        case timerfd(TimerDescriptor)
        case signalfd(mask: UInt64)
        case memfd(SharedMemoryID)
        case inotify(Inotify)
        case fanotify(Fanotify)
        case unixSocket(UnixSocket)
        case inetSocket(InetSocket)
        case netlinkSocket(NetlinkSocket)
        case packetSocket(PacketSocket)
        case tunnel(TunnelFile)
        case posixQueue(PosixQueue)
        /// A descriptor of a process, by its id in the guest's own pid namespace.
        case pidfd(process: Int32)
        case terminal(TerminalFile)
        /// A namespace by its inode number, as a file below /proc/N/ns keeps it.
        case namespace(NamespaceKind, number: UInt32)
        /// What cannot be brought back, in words: "io_uring instance", "established TCP connection to 10.0.0.1:80".
        case unsupported(String)
    }

    public var kind: Kind
    /// O_* as in `f_flags`; the access mode of `f_mode` in the lowest two bits.
    public var flags: UInt32
    /// `f_pos`.
    public var position: UInt64
    public var owner: FileOwner

    public init(kind: Kind, flags: UInt32, position: UInt64 = 0, owner: FileOwner = FileOwner()) {
        self.kind = kind
        self.flags = flags
        self.position = position
        self.owner = owner
    }
}

/// An object of a filesystem as its path gave it (`struct path` and its inode).
public struct FileNode: Sendable, Hashable {
    public enum FileType: Sendable, Hashable {
        case regular
        case directory
        case characterDevice(major: UInt32, minor: UInt32)
        /// The link itself, opened with O_PATH and O_NOFOLLOW.
        case symbolicLink
        case other
    }

    /// Absolute, from the root of the mount namespace that it was opened in; without " (deleted)".
    public var path: KernelString
    /// `mnt_id` of the mount that it was reached through, if that is not in the guest's own mount namespace.
    public var mountID: Int32?
    /// Of a removed name: there is another one that is not known, or that no mount shows to whoever has it open.
    public var hasHiddenName = false
    public var type: FileType
    /// Its name was removed; the contents live on in the inode.
    public var isDeleted: Bool
    /// `s_dev` of the filesystem, as `MKDEV(major, minor)` of the kernel.
    public var device: UInt64
    public var inode: UInt64
    /// Of a file of an overlay: that of the layer which is written to, where its contents are; nil: nothing was written, or it is on no overlay.
    public var layer: InodeIdentity?
    /// Type and permissions (`i_mode`).
    public var mode: UInt32
    public var sizeBytes: UInt64
    public var uid: UInt32
    public var gid: UInt32
    /// Of removed files only, since all others keep theirs on the disk.
    public var modified: FileTime?
    public var accessed: FileTime?

    public init(
        path: KernelString, type: FileType, isDeleted: Bool = false, device: UInt64 = 0, inode: UInt64 = 0, mode: UInt32,
        sizeBytes: UInt64 = 0, uid: UInt32 = 0, gid: UInt32 = 0
    ) {
        self.path = path
        self.type = type
        self.isDeleted = isDeleted
        self.device = device
        self.inode = inode
        self.mode = mode
        self.sizeBytes = sizeBytes
        self.uid = uid
        self.gid = gid
    }
}

/// `struct timespec64`.
public struct FileTime: Sendable, Hashable {
    public var seconds: Int64
    public var nanoseconds: UInt64

    public init(seconds: Int64, nanoseconds: UInt64) {
        self.seconds = seconds
        self.nanoseconds = nanoseconds
    }
}

/// Who gets SIGIO (`struct fown_struct`).
public struct FileOwner: Sendable, Hashable {
    public var uid: UInt32 = 0
    public var effectiveUID: UInt32 = 0
    public var signal: UInt32 = 0
    /// `enum pid_type`: PIDTYPE_PID 0, TGID 1, PGID 2.
    public var pidType: UInt32 = 0
    /// 0: nobody.
    public var pid: UInt32 = 0

    public init() {}
}

/// `struct files_struct`.
public struct DescriptorTable: Sendable, Hashable {
    /// Ascending by number.
    public var descriptors: [Descriptor]

    public init(descriptors: [Descriptor] = []) {
        self.descriptors = descriptors
    }
}

/// One open descriptor.
public struct Descriptor: Sendable, Hashable {
    public var number: Int32
    public var file: FileID
    public var closesOnExec: Bool

    public init(number: Int32, file: FileID, closesOnExec: Bool) {
        self.number = number
        self.file = file
        self.closesOnExec = closesOnExec
    }
}

/// A pipe or the queue of a named one.
public struct Pipe: Sendable, Hashable {
    /// Number of the pipe's inode.
    public var inode: UInt64
    /// What a reader would read next, in order.
    public var queuedBytes: [UInt8]
    /// F_GETPIPE_SZ (`max_usage` pages).
    public var capacityBytes: UInt32
    /// What the queued bytes are made of, where some of them are packets (O_DIRECT): a read takes no more than one. Empty: none is.
    public var pieces: [Piece]
    /// `pipe->readers` and `pipe->writers`: open descriptions in the whole guest, by which an end outside the group is known; nil: not read.
    public var readers: UInt32?
    public var writers: UInt32?

    public init(
        inode: UInt64, queuedBytes: [UInt8], capacityBytes: UInt32, pieces: [Piece] = [], readers: UInt32? = nil,
        writers: UInt32? = nil
    ) {
        self.readers = readers
        self.writers = writers
        self.inode = inode
        self.queuedBytes = queuedBytes
        self.capacityBytes = capacityBytes
        self.pieces = pieces
    }

    /// A packet, or what was written between packets.
    public struct Piece: Sendable, Hashable {
        public var byteCount: Int
        public var isPacket: Bool

        public init(byteCount: Int, isPacket: Bool) {
            self.byteCount = byteCount
            self.isPacket = isPacket
        }
    }
}

/// One registration in an epoll instance (`struct epitem`).
public struct EpollTarget: Sendable, Hashable {
    /// `ffd.fd`.
    public var descriptor: Int32
    /// `ffd.file`; nil when that file is held by no process of the group.
    public var file: FileID?
    /// EPOLL*.
    public var events: UInt32
    public var data: UInt64

    public init(descriptor: Int32, file: FileID?, events: UInt32, data: UInt64) {
        self.descriptor = descriptor
        self.file = file
        self.events = events
        self.data = data
    }
}

/// `struct timerfd_ctx`.
public struct TimerDescriptor: Sendable, Hashable {
    public var clock: Int32
    /// Expirations not yet read.
    public var ticks: UInt64
    /// TFD_TIMER_*.
    public var settimeFlags: UInt32
    public var intervalNanoseconds: UInt64
    /// Until it fires, counted from the crash; 0: disarmed.
    public var remainingNanoseconds: UInt64

    public init(clock: Int32, ticks: UInt64, settimeFlags: UInt32, intervalNanoseconds: UInt64, remainingNanoseconds: UInt64) {
        self.clock = clock
        self.ticks = ticks
        self.settimeFlags = settimeFlags
        self.intervalNanoseconds = intervalNanoseconds
        self.remainingNanoseconds = remainingNanoseconds
    }
}
