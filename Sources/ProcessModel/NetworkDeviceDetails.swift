extension NetworkDevice {
    /// What a device of its kind was made with, for those whose drivers are known.
    public enum Details: Sendable, Hashable {
        case tunnel(Tunnel)
        case sit(SitTunnel)
        case macvlan(Macvlan)
    }

    /// `struct tun_struct` (drivers/net/tun.c): a device whose packets a program sends and receives.
    public struct Tunnel: Sendable, Hashable {
        /// IFF_TUN, IFF_TAP and others of include/uapi/linux/if_tun.h.
        public var flags: UInt32
        /// Who may use it; -1: nobody in particular.
        public var owner: Int32
        public var group: Int32
        /// `vnet_hdr_sz`.
        public var headerBytes: UInt32
        public var sendBufferBytes: UInt32
        /// A program in the kernel decides about its packets.
        public var hasFilter: Bool

        public init(flags: UInt32, owner: Int32, group: Int32, headerBytes: UInt32, sendBufferBytes: UInt32, hasFilter: Bool) {
            self.flags = flags
            self.owner = owner
            self.group = group
            self.headerBytes = headerBytes
            self.sendBufferBytes = sendBufferBytes
            self.hasFilter = hasFilter
        }
    }

    /// `struct ip_tunnel` of a device "sit" (net/ipv6/sit.c): IPv6 within IPv4.
    public struct SitTunnel: Sendable, Hashable {
        /// Number of the device that it sends through; 0: any.
        public var link: UInt32
        /// Four bytes each; all zero: any.
        public var local: [UInt8]
        public var remote: [UInt8]
        public var timeToLive: UInt8
        public var typeOfService: UInt8
        public var transport: UInt8
        /// Something of it is not as a new one has it, and not known here.
        public var isSpecial: Bool

        public init(
            link: UInt32, local: [UInt8], remote: [UInt8], timeToLive: UInt8, typeOfService: UInt8, transport: UInt8,
            isSpecial: Bool
        ) {
            self.link = link
            self.local = local
            self.remote = remote
            self.timeToLive = timeToLive
            self.typeOfService = typeOfService
            self.transport = transport
            self.isSpecial = isSpecial
        }
    }

    /// `struct macvlan_dev` (include/linux/if_macvlan.h): a device with an address of its own on another one.
    public struct Macvlan: Sendable, Hashable {
        /// MACVLAN_MODE_*.
        public var mode: UInt32
        /// MACVLAN_FLAG_*.
        public var flags: UInt16
        /// It takes packets of a list of addresses only (MACVLAN_MODE_SOURCE).
        public var hasSources: Bool

        public init(mode: UInt32, flags: UInt16, hasSources: Bool) {
            self.mode = mode
            self.flags = flags
            self.hasSources = hasSources
        }
    }
}

/// `struct tun_file` (drivers/net/tun.c): /dev/net/tun, opened.
public struct TunnelFile: Sendable, Hashable {
    /// The device file.
    public var node: FileNode
    /// Inode number of the network namespace.
    public var networkNamespace: UInt32
    /// The name of its device; nil: it has none yet.
    public var device: KernelString?
    /// One of several queues, which gets no packets (IFF_DETACH_QUEUE).
    public var isDetached: Bool

    public init(node: FileNode, networkNamespace: UInt32, device: KernelString?, isDetached: Bool) {
        self.node = node
        self.networkNamespace = networkNamespace
        self.device = device
        self.isDetached = isDetached
    }
}
