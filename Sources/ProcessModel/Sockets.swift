/// An option as setsockopt(2) takes it.
public struct LateSocketOption: Sendable, Hashable {
    public enum Value: Sendable, Hashable {
        /// An `int`.
        case number(Int32)
        /// A name of at most ``LateSocketOption/textLimit`` bytes.
        case text(String)
    }

    /// The longest name that an option takes: TCP_CA_NAME_MAX (include/net/tcp.h) with its zero byte.
    public static let textLimit = 15

    /// For people: `TCP_NODELAY`.
    public var name: String
    /// SOL_SOCKET (1), IPPROTO_IP (0), IPPROTO_TCP (6), …
    public var level: Int32
    public var number: Int32
    public var value: Value

    public init(name: String, level: Int32, number: Int32, value: Value) {
        self.name = name
        self.level = level
        self.number = number
        self.value = value
    }
}

/// Options that every socket has (`struct sock`).
public struct SocketOptions: Sendable, Hashable {
    /// `sk_sndbuf`, as the kernel holds it (twice what was asked for).
    public var sendBuffer: UInt32 = 212_992
    /// `sk_rcvbuf`.
    public var receiveBuffer: UInt32 = 212_992
    /// SOCK_SNDBUF_LOCK (1) and SOCK_RCVBUF_LOCK (2) of `sk_userlocks`; nil where the kernel lets no program set them by themselves.
    /// There, both are locked after a restore: the sizes stay, and are no longer tuned.
    public var bufferLocks: UInt32? = 0
    /// 0: none.
    public var sendTimeoutMicroseconds: UInt64 = 0
    public var receiveTimeoutMicroseconds: UInt64 = 0
    public var reuseAddress = false
    public var reusePort = false
    public var priority: UInt32 = 0
    public var receiveLowWater: UInt32 = 1
    public var mark: UInt32 = 0
    public var passesCredentials = false
    public var passesSecurity = false
    public var isBroadcast = false
    public var keepsAlive = false
    public var keepAliveCount: UInt32?
    public var keepAliveIdleSeconds: UInt32?
    public var keepAliveIntervalSeconds: UInt32?
    public var outOfBandInline = false
    /// Seconds; nil: off.
    public var lingerSeconds: UInt32?
    /// SO_DONTROUTE (SOCK_LOCALROUTE of `sk_flags`).
    public var avoidsRouters = false
    /// SO_NO_CHECK (`sk_no_check_tx`).
    public var omitsChecksums = false
    /// What SO_ATTACH_FILTER attached; empty: nothing.
    public var filter: [FilterInstruction] = []
    /// A filter of another kind (eBPF) is attached, which is not saved.
    public var hasUnsavedFilter = false
    /// SO_LOCK_FILTER: the filter must not be changed.
    public var locksFilter = false
    /// An error that the next call would have been told of (`sk_err`), as a positive number.
    public var pendingError: Int32 = 0
    /// `sk_bound_dev_if` as a name.
    public var boundDevice: KernelString?
    /// Inode number of its network namespace (`sk_net`), which need not be that of who holds it; 0: the kernel has none.
    public var networkNamespace: UInt32 = 0
    /// Those that CRIU does not save; they are set when the socket is there again.
    public var late: [LateSocketOption] = []

    public init() {}
}

/// RCV_SHUTDOWN and SEND_SHUTDOWN of `sk_shutdown`.
public struct SocketShutdown: OptionSet, Sendable, Hashable {
    public let rawValue: UInt32
    public init(rawValue: UInt32) { self.rawValue = rawValue }
    public static let receive = SocketShutdown(rawValue: 1)
    public static let send = SocketShutdown(rawValue: 2)
}

/// `struct unix_sock`.
public struct UnixSocket: Sendable, Hashable {
    public enum State: Sendable, Hashable {
        /// Neither bound to a peer nor listening (TCP_CLOSE).
        case unconnected
        case connected
        case listening
    }

    /// The name it is bound to.
    public struct Address: Sendable, Hashable {
        /// `sun_path`: a path, or an abstract name with its leading NUL.
        public var name: KernelString
        /// The directory in which a relative path was bound; nil: the path is absolute, or that could not be told.
        public var directory: KernelString?
        /// Where its file is now, when that was renamed since it was bound.
        public var renamedTo: KernelString?
        /// Mode and owner of the socket's inode when it is a path in a filesystem.
        public var mode: UInt32
        public var uid: UInt32
        public var gid: UInt32
        /// The path no longer leads to this socket.
        public var isDeleted: Bool
        /// `mnt_id` of the mount that its file is on; nil: one of the guest's own mount namespace, or none.
        public var mountID: Int32?

        public init(name: KernelString, mode: UInt32 = 0o755, uid: UInt32 = 0, gid: UInt32 = 0, isDeleted: Bool = false) {
            self.name = name
            self.directory = nil
            self.renamedTo = nil
            self.mode = mode
            self.uid = uid
            self.gid = gid
            self.isDeleted = isDeleted
        }
    }

    /// The other end of a connection.
    public enum Peer: Sendable, Hashable {
        case none
        /// A socket of this group, by the number of its inode.
        case inode(UInt64)
        /// Held by somebody outside the group, in words (its bound name or its owner).
        case outside(String)
        /// The other end is closed.
        case closed
    }

    /// SOCK_STREAM 1, SOCK_DGRAM 2, SOCK_SEQPACKET 5.
    public var type: UInt32
    public var state: State
    /// Number of the socket's inode.
    public var inode: UInt64
    public var address: Address?
    public var peer: Peer
    /// `sk_max_ack_backlog` while listening.
    public var backlog: UInt32
    public var shutdown: SocketShutdown
    /// Messages (or pieces of the stream) to be received, oldest first. Of a listening socket: what was already sent over the one waiting
    /// connection whose client `hasSentBeforeAccept`.
    public var receiveQueue: [Message]
    /// Connections that were made to a listening socket and not yet accepted, and whose client is not in the group.
    public var waitingConnections: UInt32
    /// Those whose client is: it connects again.
    public var waitingClients: UInt32
    /// What SO_PEERCRED of a connection, or of a client of a listening socket, tells (`sk_peer_cred`); nil: nothing.
    public var peerIdentity: Identity?
    /// The client of a waiting connection that data was already sent over.
    public var hasSentBeforeAccept: Bool
    public var options: SocketOptions

    /// Effective user and group.
    public struct Identity: Sendable, Hashable {
        public var uid: UInt32
        public var gid: UInt32

        public init(uid: UInt32, gid: UInt32) {
            self.uid = uid
            self.gid = gid
        }
    }

    public struct Message: Sendable, Hashable {
        public var bytes: [UInt8]
        /// Open files on their way to the receiver (SCM_RIGHTS).
        public var files: [FileID]
        /// Says who sent it (SCM_CREDENTIALS).
        public var carriesCredentials: Bool
        /// What the sender of a datagram is bound to; nil: nothing.
        public var sender: KernelString?

        public init(
            bytes: [UInt8], files: [FileID] = [], carriesCredentials: Bool = false, sender: KernelString? = nil
        ) {
            self.bytes = bytes
            self.files = files
            self.carriesCredentials = carriesCredentials
            self.sender = sender
        }
    }

    public init(type: UInt32, state: State, inode: UInt64, peer: Peer = .none) {
        self.type = type
        self.state = state
        self.inode = inode
        self.address = nil
        self.peer = peer
        self.backlog = 0
        self.shutdown = []
        self.receiveQueue = []
        self.waitingConnections = 0
        self.waitingClients = 0
        self.peerIdentity = nil
        self.hasSentBeforeAccept = false
        self.options = SocketOptions()
    }
}

/// A TCP, UDP or raw socket (`struct inet_sock`).
public struct InetSocket: Sendable, Hashable {
    public enum State: Sendable, Hashable {
        /// Bound or not (TCP_CLOSE).
        case closed
        case listening
        /// TCP_ESTABLISHED: of a UDP socket with a default destination, or of a TCP connection.
        case established
        /// Any other state of a TCP connection, by its name ("SYN_SENT").
        case other(String)
    }

    /// AF_INET 2 or AF_INET6 10.
    public var family: UInt32
    /// SOCK_STREAM 1, SOCK_DGRAM 2, SOCK_RAW 3.
    public var type: UInt32
    /// IPPROTO_*.
    public var transport: UInt32
    public var state: State
    /// Number of the socket's inode.
    public var inode: UInt64
    /// 4 or 16 bytes in network order.
    public var sourceAddress: [UInt8]
    /// Host order; 0: not bound.
    public var sourcePort: UInt16
    public var destinationAddress: [UInt8]
    public var destinationPort: UInt16
    public var backlog: UInt32
    public var isIPv6Only: Bool
    public var isFreeBind: Bool
    public var shutdown: SocketShutdown
    /// Datagrams to be received, or connections to be accepted, which are lost.
    public var queuedItems: UInt32
    public var options: SocketOptions
    /// Of a TCP socket that has or had a peer.
    public var connection: TCPConnection?
    /// A datagram is being put together, or would be (UDP_CORK).
    public var isCorked = false
    /// It has joined multicast groups.
    public var hasMemberships = false
    /// It says from where its multicast packets go (IP_MULTICAST_IF).
    public var choosesMulticastDevice = false
    /// Of a raw socket.
    public var raw: RawOptions?
    /// Why there is no ``connection`` though the socket had one, in words.
    public var connectionObstacle: String?

    /// `struct raw_sock`, `struct raw6_sock`.
    public struct RawOptions: Sendable, Hashable {
        /// IP_HDRINCL, IPV6_HDRINCL.
        public var hasOwnHeader = false
        /// IP_NODEFRAG.
        public var isNeverReassembled = false
        /// ICMP_FILTER or ICMPV6_FILTER of a socket of that protocol, one or eight words.
        public var filter: [UInt32] = []
        /// IPV6_CHECKSUM is set, which is not saved.
        public var hasChecksum = false

        public init() {}
    }

    public init(family: UInt32, type: UInt32, transport: UInt32, state: State, inode: UInt64) {
        self.family = family
        self.type = type
        self.transport = transport
        self.state = state
        self.inode = inode
        self.sourceAddress = []
        self.sourcePort = 0
        self.destinationAddress = []
        self.destinationPort = 0
        self.backlog = 0
        self.isIPv6Only = false
        self.isFreeBind = false
        self.shutdown = []
        self.queuedItems = 0
        self.options = SocketOptions()
    }
}
