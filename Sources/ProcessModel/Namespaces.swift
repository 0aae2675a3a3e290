/// Inode numbers of a task's namespaces (`nsproxy->*->ns.inum`, `cred->user_ns->ns.inum`); 0: not read.
public struct Namespaces: Sendable, Hashable {
    public var pid: UInt32 = 0
    public var network: UInt32 = 0
    public var ipc: UInt32 = 0
    public var uts: UInt32 = 0
    public var mount: UInt32 = 0
    public var user: UInt32 = 0
    public var cgroup: UInt32 = 0
    public var time: UInt32 = 0

    public init() {}
}

/// `struct upid`: an id in a pid namespace, which is named by its inode number.
public struct NamespacePID: Sendable, Hashable {
    public var namespace: UInt32
    public var number: Int32

    public init(namespace: UInt32, number: Int32) {
        self.namespace = namespace
        self.number = number
    }
}

/// `struct uts_namespace`: what `uname` says.
public struct UTSNamespace: Sendable, Hashable {
    public var nodeName: KernelString
    public var domainName: KernelString

    public init(nodeName: KernelString, domainName: KernelString) {
        self.nodeName = nodeName
        self.domainName = domainName
    }
}

/// `struct time_namespace.offsets`, in nanoseconds: what the namespace's clocks are ahead of the guest's.
public struct TimeNamespace: Sendable, Hashable {
    public var monotonicOffset: Int64
    public var boottimeOffset: Int64

    public init(monotonicOffset: Int64, boottimeOffset: Int64) {
        self.monotonicOffset = monotonicOffset
        self.boottimeOffset = boottimeOffset
    }
}

/// `struct ipc_namespace`: its limits and System V objects.
public struct IPCNamespace: Sendable {
    /// `sem_ctls`: SEMMSL, SEMMNS, SEMOPM, SEMMNI.
    public var semaphoreLimits: [UInt32] = []
    /// `msg_ctlmax`, `msg_ctlmnb`, `msg_ctlmni`.
    public var messageLimits: [UInt32] = []
    public var largestSegment: UInt64 = 0
    public var segmentPages: UInt64 = 0
    public var segmentCount: UInt32 = 0
    public var removesUnusedSegments = false
    /// `mq_queues_max`, `mq_msg_max`, `mq_msgsize_max`, `mq_msg_default`, `mq_msgsize_default`; empty in a kernel without them.
    public var posixQueueLimits: [UInt32] = []
    /// `ipc_ids.next_id` of semaphores, messages and segments: what somebody has asked that the next id be; empty in a kernel without
    /// CONFIG_CHECKPOINT_RESTORE, -1 for a kind whose ids are given in turn.
    public var nextIDs: [Int32] = []
    /// POSIX message queues that exist in it.
    public var posixQueues: UInt32 = 0
    public var segments: [SharedSegment] = []
    public var messageQueues: [MessageQueue] = []
    public var semaphoreSets: [SemaphoreSet] = []

    public init() {}
}

/// `struct kern_ipc_perm`.
public struct IPCPermissions: Sendable, Hashable {
    public var id: Int32
    public var key: Int32
    public var uid: UInt32
    public var gid: UInt32
    public var creatorUID: UInt32
    public var creatorGID: UInt32
    /// With SHM_DEST (01000) and SHM_LOCKED (02000).
    public var mode: UInt32

    public init(id: Int32, key: Int32, uid: UInt32, gid: UInt32, creatorUID: UInt32, creatorGID: UInt32, mode: UInt32) {
        self.id = id
        self.key = key
        self.uid = uid
        self.gid = gid
        self.creatorUID = creatorUID
        self.creatorGID = creatorGID
        self.mode = mode
    }
}

/// `struct shmid_kernel`.
public struct SharedSegment: Sendable, Hashable {
    public var permissions: IPCPermissions
    public var sizeBytes: UInt64
    /// Its contents.
    public var memory: SharedMemoryID
    /// Size of its pages where they are hugetlb's; 0: they are not.
    public var hugePageBytes: UInt64

    public init(permissions: IPCPermissions, sizeBytes: UInt64, memory: SharedMemoryID, hugePageBytes: UInt64 = 0) {
        self.permissions = permissions
        self.sizeBytes = sizeBytes
        self.memory = memory
        self.hugePageBytes = hugePageBytes
    }

    /// Of whole pages, as it is attached (do_shmat of ipc/shm.c).
    public var wholeBytes: UInt64 {
        let rest = max(hugePageBytes, 4096) &- 1
        return (sizeBytes &+ rest) & ~rest
    }
}

/// `struct msg_queue`.
public struct MessageQueue: Sendable, Hashable {
    public struct Message: Sendable, Hashable {
        public var type: Int64
        public var bytes: [UInt8]

        public init(type: Int64, bytes: [UInt8]) {
            self.type = type
            self.bytes = bytes
        }
    }

    public var permissions: IPCPermissions
    /// `q_qbytes`: how many bytes it may hold.
    public var limitBytes: UInt64
    /// The oldest first.
    public var messages: [Message]

    public init(permissions: IPCPermissions, limitBytes: UInt64, messages: [Message]) {
        self.permissions = permissions
        self.limitBytes = limitBytes
        self.messages = messages
    }
}

/// `struct sem_array`.
public struct SemaphoreSet: Sendable, Hashable {
    public var permissions: IPCPermissions
    public var values: [UInt16]
    /// Processes whose end would undo something (SEM_UNDO).
    public var undoers: Int

    public init(permissions: IPCPermissions, values: [UInt16], undoers: Int) {
        self.permissions = permissions
        self.values = values
        self.undoers = undoers
    }
}
