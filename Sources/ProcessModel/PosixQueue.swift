/// A POSIX message queue that is open (mq_overview(7)): `struct mqueue_inode_info` (ipc/mqueue.c).
public struct PosixQueue: Sendable, Hashable {
    public struct Message: Sendable, Hashable {
        public var priority: UInt32
        public var bytes: [UInt8]

        public init(priority: UInt32, bytes: [UInt8]) {
            self.priority = priority
            self.bytes = bytes
        }
    }

    /// Without the slash that it begins with.
    public var name: KernelString
    public var isRemoved: Bool
    public var inode: UInt64
    /// Inode number of the ipc namespace in which it has its name.
    public var ipcNamespace: UInt32
    public var mode: UInt32
    public var uid: UInt32
    public var gid: UInt32
    /// `mq_maxmsg` and `mq_msgsize`.
    public var messageLimit: UInt64
    public var messageBytes: UInt64
    /// As they would be received: the most urgent first, and of those that are as urgent the oldest.
    public var messages: [Message] = []
    /// A process is to be told of the next message (mq_notify(3)).
    public var hasNotification = false

    public init(
        name: KernelString, isRemoved: Bool = false, inode: UInt64, ipcNamespace: UInt32, mode: UInt32, uid: UInt32,
        gid: UInt32,
        messageLimit: UInt64, messageBytes: UInt64
    ) {
        self.name = name
        self.isRemoved = isRemoved
        self.inode = inode
        self.ipcNamespace = ipcNamespace
        self.mode = mode
        self.uid = uid
        self.gid = gid
        self.messageLimit = messageLimit
        self.messageBytes = messageBytes
    }
}
