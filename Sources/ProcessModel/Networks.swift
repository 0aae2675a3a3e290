/// `struct net`, as far as it is known how to make it again.
public struct NetworkNamespace: Sendable, Hashable {
    public var devices: [NetworkDevice] = []
    /// The other ends of its devices that are a veth, by their number.
    public var peers: [UInt32: NetworkPeer] = [:]
    /// What its devices that are a macvlan lie on, by their number.
    public var lowerDevices: [UInt32: NetworkPeer] = [:]
    /// Routes that somebody has set. Those that the kernel makes for addresses, and those that routers tell, are not among them.
    public var routes: [NetworkRoute] = []
    /// Routes that are not understood: of several ways, or by the kernel's nexthop objects.
    public var unknownRoutes = 0
    /// The rules of nft, and of iptables where that makes rules of nf_tables.
    public var packetFilter = PacketFilter()
    /// What of those, or of other hooks of netfilter, is not understood, so that none of them comes back.
    public var lostPacketFilter: String?
    /// How many connections it tracks for its packet filter.
    public var trackedConnections = 0
    /// How many neighbours somebody has set for good (NUD_PERMANENT).
    public var permanentNeighbours = 0
    /// Whether it has policies or states of IPsec (`struct netns_xfrm`).
    public var hasIPsec = false
    /// `fib_has_custom_rules`.
    public var hasRoutingRules = false
    /// What it has below /proc/sys/net, by path.
    public var settings: [NetworkSetting] = []
    /// Those that are not the guest's and whose values are not understood.
    public var lostSettings: [String] = []

    public init() {}
}

/// `struct ctl_table`: a file below /proc/sys/net.
public struct NetworkSetting: Sendable, Hashable {
    /// From /proc/sys on, as "net/ipv4/ip_forward".
    public var path: String
    /// As the file shows it: numbers with spaces between.
    public var value: String

    public init(path: String, value: String) {
        self.path = path
        self.value = value
    }
}

/// `struct net_device`.
public struct NetworkDevice: Sendable, Hashable {
    public var index: UInt32
    public var name: KernelString
    public var mtu: UInt32
    /// IFF_*.
    public var flags: UInt32
    public var isLoopback: Bool
    /// `rtnl_link_ops.kind`; empty for a device that no link type made.
    public var kind: KernelString = ""
    /// `dev_addr`.
    public var hardwareAddress: [UInt8] = []
    public var addresses: [NetworkAddress] = []
    /// Number of the device, of the same namespace, that it is a port of; 0: none.
    public var master: UInt32 = 0
    /// nil: what it was made with is not known, or it is nothing but its kind.
    public var details: Details?
    /// Names of its queueing disciplines (`Qdisc_ops.id`), but those that a new device may have.
    public var queueing: [KernelString] = []
    /// A program in the kernel sees its packets before anybody else (XDP).
    public var hasPacketProgram = false

    public init(index: UInt32, name: KernelString, mtu: UInt32, flags: UInt32, isLoopback: Bool) {
        self.index = index
        self.name = name
        self.mtu = mtu
        self.flags = flags
        self.isLoopback = isLoopback
    }
}

/// The other end of a veth.
public struct NetworkPeer: Sendable, Hashable {
    /// Whether it is in the network namespace of the guest's init process.
    public var isInGuest: Bool
    /// Inode number of its network namespace.
    public var namespace: UInt32 = 0
    public var device: NetworkDevice
    /// The device that it is a port of.
    public var master: NetworkDevice?

    public init(isInGuest: Bool, device: NetworkDevice, master: NetworkDevice? = nil) {
        self.isInGuest = isInGuest
        self.device = device
        self.master = master
    }
}

/// `struct in_ifaddr` or `struct inet6_ifaddr`: 4 or 16 bytes.
public struct NetworkAddress: Sendable, Hashable {
    public var bytes: [UInt8]
    public var prefixLength: UInt32
    /// `ifa_address`: that of the other end, which is the same one where there is no single other end.
    public var remote: [UInt8]
    /// `ifa_broadcast`, of IPv4; all zero: none.
    public var broadcast: [UInt8] = []
    /// RT_SCOPE_*.
    public var scope: UInt8 = 0
    /// IFA_F_*.
    public var flags: UInt32 = 0
    /// IFAPROT_*, who has set it; 0 in a kernel that does not keep it (before 5.18, commit 47f0bd503210).
    public var origin: UInt8 = 0
    /// `ifa_rt_priority`: the metric of the routes that the kernel makes for it; 0: the usual one.
    public var routePriority: UInt32 = 0
    /// `ifa_label`, of IPv4.
    public var label: KernelString = ""

    public init(bytes: [UInt8], prefixLength: UInt32) {
        self.bytes = bytes
        self.prefixLength = prefixLength
        remote = bytes
    }
}

/// A route of IPv4 (`struct fib_alias` with its `struct fib_info`) or IPv6 (`struct fib6_info`), with addresses of 4 or 16 bytes.
public struct NetworkRoute: Sendable, Hashable {
    public var table: UInt32
    public var destination: [UInt8]
    public var prefixLength: UInt8
    /// RTN_*.
    public var type: UInt8
    /// RTPROT_*.
    public var routingProtocol: UInt8
    /// RT_SCOPE_*.
    public var scope: UInt8
    public var typeOfService: UInt8
    public var priority: UInt32
    /// `fib_prefsrc`; all zero: none.
    public var preferredSource: [UInt8]
    /// Number of the device; 0: none.
    public var device: UInt32
    /// `nhc_gw`; nil: none.
    public var gateway: [UInt8]?
    /// The gateway is taken to be on the link, whatever other routes say (RTNH_F_ONLINK).
    public var isOnLink = false

    public init(
        table: UInt32, destination: [UInt8], prefixLength: UInt8, type: UInt8, routingProtocol: UInt8, scope: UInt8,
        typeOfService: UInt8 = 0, priority: UInt32 = 0, preferredSource: [UInt8] = [0, 0, 0, 0], device: UInt32,
        gateway: [UInt8]? = nil
    ) {
        self.table = table
        self.destination = destination
        self.prefixLength = prefixLength
        self.type = type
        self.routingProtocol = routingProtocol
        self.scope = scope
        self.typeOfService = typeOfService
        self.priority = priority
        self.preferredSource = preferredSource
        self.device = device
        self.gateway = gateway
    }
}
