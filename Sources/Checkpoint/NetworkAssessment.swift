import ProcessModel

/// What of a network namespace comes back: the devices that every new one has.
enum NetworkAssessment {
    /// IFF_UP
    private static let isUp: UInt32 = 1
    /// What the kernel itself gives a loopback device that is switched on (inetdev_event of net/ipv4/devinet.c, init_loopback of net/ipv6/addrconf.c).
    private static let loopback: Set<NetworkAddress> = [
        NetworkAddress(bytes: [127, 0, 0, 1], prefixLength: 8),
        NetworkAddress(bytes: Array(repeating: 0, count: 15) + [1], prefixLength: 128),
    ]

    static func obstacles(of namespace: NetworkNamespace) -> [Obstacle] {
        var found: [Obstacle] = []
        func add(_ verdict: Obstacle.Severity, _ reason: String) { found.append(Obstacle(verdict, pid: nil, reason: reason)) }
        let others = namespace.devices.filter { !comesBack($0) }
        if !others.isEmpty {
            let names = others.map { "\($0.name)" }.joined(separator: ", ")
            add(.refused, "its network namespace has devices that cannot be made again: \(names)")
        }
        for device in namespace.devices where device.isLoopback {
            let isWhole =
                device.flags & isUp != 0
                ? Set(device.addresses).isSubset(of: loopback) && device.addresses.contains { $0.bytes.count == 4 }
                : device.addresses.isEmpty
            if !isWhole { add(.degraded, "\(device.name) in its network namespace has only its first addresses again") }
        }
        if namespace.filtersPackets { add(.degraded, "the packet filter of its network namespace is empty") }
        if namespace.hasRoutingRules { add(.degraded, "the routing rules of its network namespace are lost") }
        if namespace.hasOwnSettings { add(.degraded, "the settings (sysctl) of its network namespace are the guest's again") }
        return found
    }

    /// Those that nobody has switched on of the tunnels that their modules put into each namespace by themselves
    /// (net.core.fb_tunnels_only_for_init_net, Documentation/admin-guide/sysctl/net.rst).
    private static let fallbackTunnels: Set<KernelString> = [
        "tunl0", "gre0", "gretap0", "erspan0", "ip_vti0", "ip6_vti0", "sit0", "ip6tnl0", "ip6gre0",
    ]

    private static func comesBack(_ device: NetworkDevice) -> Bool {
        device.isLoopback || fallbackTunnels.contains(device.name) && device.flags & isUp == 0
    }

    /// What CRIU gives to libnftables before it makes a socket (`restore_nftables` of criu/net.c): nothing of TCP passes but what CRIU itself sends, which it marks
    /// (SOCCR_MARK of soccr/soccr.h). The kernel would answer packets for sockets that are not there yet, and so end their connections. The agent removes the table.
    static let connectionLock = """
        table inet \(lockTable) {
            chain input { type filter hook input priority 0; meta mark 0xc114 accept; meta l4proto tcp drop; }
            chain output { type filter hook output priority 0; meta mark 0xc114 accept; meta l4proto tcp drop; }
        }

        """
    /// The agent knows it by this name.
    private static let lockTable = "xenpr-lock"

    /// `net_device_entry` of images/netdev.proto; type 1 is LOOPBACK.
    static func message(_ device: NetworkDevice) -> ProtobufMessage {
        ProtobufMessage { entry in
            entry.unsigned(1, UInt32(1))
            entry.unsigned(2, device.index)
            entry.unsigned(3, device.mtu)
            entry.unsigned(4, device.flags)
            entry.data(5, device.name.bytes)
        }
    }
}
