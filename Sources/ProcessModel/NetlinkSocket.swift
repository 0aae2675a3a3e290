/// `struct netlink_sock`.
public struct NetlinkSocket: Sendable, Hashable {
    /// NETLINK_*.
    public var transport: UInt32
    /// Number of the socket's inode.
    public var inode: UInt64
    /// `portid`, 0: not bound.
    public var port: UInt32 = 0
    /// The multicast groups that it has joined, one bit each.
    public var groups: [UInt32] = []
    public var destinationPort: UInt32 = 0
    public var destinationGroup: UInt32 = 0
    public var isConnected = false
    /// Messages to be received, which are lost.
    public var queuedMessages: UInt32 = 0
    /// An answer in parts (NLM_F_DUMP) is under way.
    public var isAnswering = false
    /// Options of SOL_NETLINK (NETLINK_EXT_ACK and others) are set, which are not saved.
    public var hasOwnOptions = false
    public var options = SocketOptions()

    public init(transport: UInt32, inode: UInt64) {
        self.transport = transport
        self.inode = inode
    }
}
