import ProcessModel

/// What of a network namespace comes back: the devices that every new one has, pairs (veth), bridges, and what ``NetworkDevice/Details`` tells of.
enum NetworkAssessment {
    /// IFF_UP
    private static let isUp: UInt32 = 1
    /// What the kernel itself gives a loopback device that is switched on (inetdev_event of net/ipv4/devinet.c, init_loopback of net/ipv6/addrconf.c).
    private static let loopback: Set<[UInt8]> = [[127, 0, 0, 1], Array(repeating: 0, count: 15) + [1]]
    /// IFA_F_PERMANENT: nobody has it for a time only.
    private static let isPermanent: UInt32 = 0x80

    static func obstacles(of namespace: NetworkNamespace, in networks: GroupNetworks) -> [Obstacle] {
        var found: [Obstacle] = []
        func add(_ verdict: Obstacle.Severity, _ reason: String) { found.append(Obstacle(verdict, pid: nil, reason: reason)) }
        let others = namespace.devices.filter { !comesBack($0, of: namespace, in: networks) }
        if !others.isEmpty {
            let names = others.map { "\($0.name)" }.joined(separator: ", ")
            add(.refused, "its network namespace has devices that cannot be made again: \(names)")
        }
        for device in namespace.devices {
            if device.isLoopback {
                let first = Set(device.addresses.map(\.bytes)).intersection(loopback)
                let isWhole = device.flags & isUp != 0 ? first.contains([127, 0, 0, 1]) : device.addresses.isEmpty
                if !isWhole { add(.degraded, "\(device.name) in its network namespace has its first addresses again") }
            } else if comesBack(device, of: namespace, in: networks), isMade(device, of: namespace) {
                if let peer = namespace.peers[device.index], peer.isInGuest, let master = peer.master,
                    master.kind != bridge || !isPlain(master.name)
                {
                    add(.degraded, "\(peer.device.name), the other end of \(device.name), is no longer part of \(master.name)")
                }
                if device.kind == bridge {
                    add(.degraded, "bridge \(device.name) in its network namespace has the settings of a new one")
                }
            }
            for discipline in device.queueing {
                add(.degraded, "queueing discipline \(discipline) of \(device.name) in its network namespace is lost")
            }
            if device.hasPacketProgram { add(.degraded, "the XDP program of \(device.name) in its network namespace is lost") }
        }
        if namespace.unknownRoutes > 0 { add(.degraded, "\(namespace.unknownRoutes) routes of its network namespace are lost") }
        if let unknown = namespace.lostPacketFilter {
            add(.degraded, "the packet filter of its network namespace is empty: \(unknown)")
        } else if namespace.trackedConnections > 0 {
            let count = namespace.trackedConnections
            let what = count == 1 ? "1 connection is" : "\(count) connections are"
            add(.degraded, "\(what) new to the packet filter of its network namespace")
        }
        if namespace.permanentNeighbours > 0 {
            let count = namespace.permanentNeighbours
            let what = count == 1 ? "1 permanent neighbour" : "\(count) permanent neighbours"
            add(.degraded, "\(what) (`ip neighbour`) of its network namespace \(count == 1 ? "is" : "are") lost")
        }
        if namespace.hasIPsec { add(.degraded, "IPsec policies and states of its network namespace are lost") }
        if namespace.hasRoutingRules { add(.degraded, "the routing rules of its network namespace are lost") }
        if !namespace.lostSettings.isEmpty {
            let list =
                namespace.lostSettings.prefix(5).joined(separator: ", ") + (namespace.lostSettings.count > 5 ? ", …" : "")
            add(.degraded, "settings (sysctl) of its network namespace are the guest's again: \(list)")
        }
        return found
    }

    /// Addresses of IPv6 that the kernel finds for itself: of the link, and what routers advertise.
    static func isMadeByKernel(_ address: NetworkAddress, of device: NetworkDevice) -> Bool {
        guard address.bytes.count == 16 else { return false }
        if address.flags & isPermanent == 0 || loopback.contains(address.bytes) { return true }
        return isOfLink(address) && address.bytes == ofLink(device.hardwareAddress)
    }

    /// Whether it is in the images. `ip` passes over those that the kernel has found for itself by then (restore_handler of ip/ipaddress.c), as it does not on a bridge without ports.
    static func isSaved(_ address: NetworkAddress) -> Bool {
        address.bytes.count == 4 || address.flags & isPermanent != 0 && !loopback.contains(address.bytes)
    }

    /// fe80::/10.
    private static func isOfLink(_ address: NetworkAddress) -> Bool {
        address.bytes.count == 16 && address.bytes[0] == 0xfe && address.bytes[1] & 0xc0 == 0x80
    }

    /// The address of the link that follows from that of an Ethernet device (addrconf_ifid_eui48, include/net/addrconf.h). One that the kernel has made of a secret of its own is no
    /// other than one that somebody has set.
    private static func ofLink(_ hardware: [UInt8]) -> [UInt8] {
        guard hardware.count == 6 else { return [] }
        return [0xfe, 0x80, 0, 0, 0, 0, 0, 0, hardware[0] ^ 2, hardware[1], hardware[2], 0xff, 0xfe]
            + hardware.suffix(3)
    }

    /// Those that nobody has switched on of the tunnels that their modules put into each namespace by themselves
    /// (net.core.fb_tunnels_only_for_init_net, Documentation/admin-guide/sysctl/net.rst).
    private static let fallbackTunnels: Set<KernelString> = [
        "tunl0", "gre0", "gretap0", "erspan0", "ip_vti0", "ip6_vti0", "sit0", "ip6tnl0", "ip6gre0",
    ]

    private static let bridge: KernelString = "bridge"

    private static func comesBack(_ device: NetworkDevice, of namespace: NetworkNamespace, in networks: GroupNetworks) -> Bool {
        // CRIU makes it part of what it makes itself (restore_master_link of criu/net.c).
        if device.master != 0 {
            guard let master = namespace.devices.first(where: { $0.index == device.master }), master.kind == bridge,
                master.master == 0, isPlain(master.name)
            else { return false }
        }
        if let peer = namespace.peers[device.index] {
            return isPlain(device.name) && isPlain(peer.device.name) && (peer.isInGuest || networks.hasBothEnds(peer))
        }
        if device.kind == bridge { return isPlain(device.name) }
        if device.isLoopback || isFallback(device) { return true }
        return device.details.map { isPlain(device.name) && $0.isUnderstood(lower: namespace.lowerDevices[device.index]) }
            ?? false
    }

    private static func isFallback(_ device: NetworkDevice) -> Bool {
        fallbackTunnels.contains(device.name) && device.flags & isUp == 0
    }

    /// Whether CRIU makes it, and the namespace does not have it by itself.
    private static func isMade(_ device: NetworkDevice, of namespace: NetworkNamespace) -> Bool {
        namespace.peers[device.index] != nil || device.kind == bridge || device.details != nil && !isFallback(device)
    }

    /// Whether it is a device that CRIU makes, of a program's tunnel.
    static func hasTunnel(_ name: KernelString, _ namespace: NetworkNamespace, in networks: GroupNetworks) -> Bool {
        namespace.devices.contains { device in
            guard device.name == name, case .tunnel = device.details else { return false }
            return comesBack(device, of: namespace, in: networks)
        }
    }

    /// Whether CRIU and `ip` take a device's name for nothing else.
    static func isPlain(_ name: KernelString) -> Bool {
        // IFNAMSIZ is 16 with the end.
        (1...15).contains(name.bytes.count) && name.bytes.first != UInt8(ascii: "-") && name.bytes != Array(".".utf8)
            && name.bytes != Array("..".utf8)
            && name.bytes.allSatisfy { byte in
                UInt8(ascii: "a")...UInt8(ascii: "z") ~= byte || UInt8(ascii: "A")...UInt8(ascii: "Z") ~= byte
                    || UInt8(ascii: "0")...UInt8(ascii: "9") ~= byte || Array(".-_".utf8).contains(byte)
            }
    }

    /// What the agent connects in the guest.
    static func links(of namespace: NetworkNamespace, in networks: GroupNetworks) -> [RecoveryManifest.Link] {
        namespace.devices.filter { comesBack($0, of: namespace, in: networks) }.compactMap { device in
            guard let peer = namespace.peers[device.index], peer.isInGuest else { return nil }
            let master = peer.master.flatMap { $0.kind == bridge && isPlain($0.name) ? end($0) : nil }
            return RecoveryManifest.Link(device: device.name.description, peer: end(peer.device), bridge: master)
        }
    }

    /// What the agent sees to that it is in the guest.
    static func lowerDevices(of namespace: NetworkNamespace, in networks: GroupNetworks) -> [RecoveryManifest.LowerDevice] {
        namespace.devices.filter { comesBack($0, of: namespace, in: networks) }.compactMap { device in
            guard let lower = namespace.lowerDevices[device.index]?.device else { return nil }
            return RecoveryManifest.LowerDevice(
                device: device.name.description, lower: end(lower), bridgeNumber: lower.kind == bridge ? lower.index : nil)
        }
    }

    private static func end(_ device: NetworkDevice) -> RecoveryManifest.LinkEnd {
        RecoveryManifest.LinkEnd(
            name: device.name.description, isUp: device.flags & isUp != 0,
            hardwareAddress: device.hardwareAddress.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined(separator: ":"),
            addresses: device.addresses.filter { !isMadeByKernel($0, of: device) }.map {
                "\(words($0.bytes))/\($0.prefixLength)"
            },
            mtu: RecoveryManifest.LinkEnd.mtus.contains(device.mtu) ? device.mtu : nil)
    }

    /// An address as `ip` takes it.
    private static func words(_ address: [UInt8]) -> String {
        if address.count == 4 { return address.map(String.init).joined(separator: ".") }
        return stride(from: 0, to: address.count - 1, by: 2).map { index in
            String(UInt16(address[index]) << 8 | UInt16(address[index + 1]), radix: 16)
        }.joined(separator: ":")
    }

    /// Devices that are in the images.
    static func devices(of namespace: NetworkNamespace, in networks: GroupNetworks) -> [NetworkDevice] {
        namespace.devices.filter { device in
            device.isLoopback || isMade(device, of: namespace) && comesBack(device, of: namespace, in: networks)
        }
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

    /// `net_device_entry` of images/netdev.proto; type 1 is LOOPBACK, 2 VETH, 3 TUN, 6 BRIDGE, 7 MACVLAN, 8 SIT.
    static func message(_ device: NetworkDevice, of namespace: NetworkNamespace, in networks: GroupNetworks)
        -> ProtobufMessage
    {
        ProtobufMessage { entry in
            entry.unsigned(1, device.details?.imageType ?? UInt32(device.isLoopback ? 1 : device.kind == bridge ? 6 : 2))
            entry.unsigned(2, device.index)
            entry.unsigned(3, device.mtu)
            entry.unsigned(4, device.flags)
            entry.data(5, device.name.bytes)
            if isMade(device, of: namespace), !device.hardwareAddress.isEmpty { entry.data(7, device.hardwareAddress) }
            device.details?.append(to: &entry)
            if let peer = namespace.peers[device.index] {
                entry.unsigned(12, peer.device.index)
                if let id = networks.id(ofPeer: peer) { entry.unsigned(13, id) }
            }
            if device.master != 0 { entry.unsigned(14, device.master) }
        }
    }
}
