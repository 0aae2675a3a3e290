/// `struct packet_sock`.
public struct PacketSocket: Sendable, Hashable {
    /// SOCK_DGRAM 2, SOCK_RAW 3, SOCK_PACKET 10.
    public var type: UInt32
    /// Number of the socket's inode.
    public var inode: UInt64
    /// ETH_P_*, in network order as it lies in memory; 0: nothing is received.
    public var transport: UInt16 = 0
    /// The network device that it is bound to; nil: all of them.
    public var device: Device?
    /// TPACKET_V1 0, TPACKET_V2 1, TPACKET_V3 2.
    public var version: UInt32 = 0
    /// PACKET_RESERVE.
    public var reservedBytes: UInt32 = 0
    /// PACKET_TIMESTAMP.
    public var timestamp: UInt32 = 0
    /// PACKET_COPY_THRESH.
    public var copyThreshold: UInt32 = 0
    /// PACKET_AUXDATA.
    public var hasAuxiliaryData = false
    /// PACKET_ORIGDEV.
    public var tellsOriginalDevice = false
    /// PACKET_LOSS.
    public var dropsMalformed = false
    /// PACKET_TX_HAS_OFF.
    public var hasSendOffsets = false
    /// PACKET_VNET_HDR, PACKET_VNET_HDR_SZ: bytes of a `struct virtio_net_hdr`; 0: none.
    public var virtualHeaderBytes: UInt32 = 0
    /// PACKET_IGNORE_OUTGOING.
    public var ignoresOutgoing = false
    /// PACKET_QDISC_BYPASS; nil: the kernel does not tell.
    public var bypassesQueue: Bool?
    public var memberships: [Membership] = []
    public var fanout: Fanout?
    public var receiveRing: Ring?
    public var sendRing: Ring?
    /// Packets in the receive queue, which are lost.
    public var queuedPackets: UInt32 = 0
    public var options = SocketOptions()

    public init(type: UInt32, inode: UInt64) {
        self.type = type
        self.inode = inode
    }

    /// A network device, in the socket's namespace.
    public struct Device: Sendable, Hashable {
        /// -1: it is gone.
        public var number: Int32
        /// nil: no device has the number.
        public var name: KernelString?

        public init(number: Int32, name: KernelString?) {
            self.number = number
            self.name = name
        }
    }

    /// `struct packet_mclist`: PACKET_ADD_MEMBERSHIP.
    public struct Membership: Sendable, Hashable {
        public var device: Device
        /// PACKET_MR_*.
        public var type: UInt32
        public var address: [UInt8]
        /// How often it was asked for.
        public var count: UInt32

        public init(device: Device, type: UInt32, address: [UInt8], count: UInt32 = 1) {
            self.device = device
            self.type = type
            self.address = address
            self.count = count
        }
    }

    /// `struct packet_fanout`.
    public struct Fanout: Sendable, Hashable {
        public var id: UInt16
        /// PACKET_FANOUT_*.
        public var type: UInt8
        /// PACKET_FANOUT_FLAG_* >> 8.
        public var flags: UInt8
        public var members: UInt32

        public init(id: UInt16, type: UInt8, flags: UInt8, members: UInt32) {
            self.id = id
            self.type = type
            self.flags = flags
            self.members = members
        }
    }

    /// `struct packet_ring_buffer`.
    public struct Ring: Sendable, Hashable {
        public var blockBytes: UInt32
        public var blockCount: UInt32
        public var frameBytes: UInt32
        public var frameCount: UInt32
        /// Of TPACKET_V3.
        public var retireMilliseconds: UInt32 = 0
        public var privateBytes: UInt32 = 0
        public var features: UInt32 = 0
        /// The frame, or block of TPACKET_V3, that the kernel uses next.
        public var position: UInt32 = 0
        /// Packets that wait in it for the program, or for being sent.
        public var waitingPackets: UInt32 = 0

        public init(blockBytes: UInt32, blockCount: UInt32, frameBytes: UInt32, frameCount: UInt32) {
            self.blockBytes = blockBytes
            self.blockCount = blockCount
            self.frameBytes = frameBytes
            self.frameCount = frameCount
        }

        public var sizeBytes: UInt64 { UInt64(blockBytes) * UInt64(blockCount) }
    }

    /// What a mapping of it has to cover.
    public var ringBytes: UInt64 { (receiveRing?.sizeBytes ?? 0) + (sendRing?.sizeBytes ?? 0) }
}
