import GuestMemory
import KernelObjects
import KernelTypes
import ProcessModel

/// `struct net` (include/net/net_namespace.h) with its devices and what else somebody may have configured in it.
struct NetworkNamespaceLayout: Sendable {
    let devices, link, index, name, flags, ownFlags, mtu, hardwareType: Field
    let kind, hardwareAddress, hardwareAddressLength, namespace, upper: Field
    let linkOperations: Field
    /// `struct netdev_adjacent` (net/core/dev.c).
    let upperDevice, upperLink, upperIsMaster: Field
    /// Where a driver's own data are, behind the device (netdev_priv).
    let privateData: Int
    let internetDevice, firstAddress, nextAddress, address, prefixLength: Field
    let remote, broadcast, scope, addressFlags, label: Field
    let origin, routePriority: Field?
    /// nil in a kernel without IPv6.
    let internet6:
        (
            device: Field, addresses: Field, link: Field, address: Field, prefixLength: Field, scope: Field, flags: Field,
            remote: Field, origin: Field?, routePriority: Field?
        )?
    /// nil: other routes than those that are known here.
    let routes: NetworkRouteLayout?
    let routes6: NetworkRoute6Layout?
    let packetFilters: [Field]
    let hookCount, firstHook: Field
    let hookSize: Int
    let customRules: [Field]
    /// How many states and policies of IPsec it has (include/net/netns/xfrm.h).
    let securityCounts: [Field]
    /// nil: it is not known how devices queue their packets.
    let queueing: QueueingLayout?
    /// nil: it is not known who their neighbours are.
    let neighbours: NeighbourLayout?
    /// nil: the kernel has no settings, or they are not understood.
    let settings: NetworkSettingsLayout?

    /// nil for a kernel without networks.
    init?(_ types: TypeTable) {
        do throws(KernelError) {
            let net = try types.structure("net")
            devices = try net.field("dev_base_head")
            let device = try types.structure("net_device")
            link = try device.field("dev_list")
            index = try device.field("ifindex")
            name = try device.field("name")
            flags = try device.field("flags")
            ownFlags = try device.field("gflags")
            mtu = try device.field("mtu")
            hardwareType = try device.field("type")
            linkOperations = try device.field("rtnl_link_ops")
            kind = try types.structure("rtnl_link_ops").field("kind")
            hardwareAddress = try device.field("dev_addr")
            hardwareAddressLength = try device.field("addr_len")
            namespace = try device.field("nd_net.net")
            upper = try device.field("adj_list.upper")
            let adjacent = try types.structure("netdev_adjacent")
            upperDevice = try adjacent.field("dev")
            upperLink = try adjacent.field("list")
            upperIsMaster = try adjacent.field("master")
            // NETDEV_ALIGN is 32; since 6.10 (commit b33d95ce2d2c) the data are a member.
            privateData = device.optional("priv")?.offset ?? (device.size + 31) & ~31
            internetDevice = try device.field("ip_ptr")
            firstAddress = try types.structure("in_device").field("ifa_list")
            let address = try types.structure("in_ifaddr")
            nextAddress = try address.field("ifa_next")
            self.address = try address.field("ifa_local")
            prefixLength = try address.field("ifa_prefixlen")
            remote = try address.field("ifa_address")
            broadcast = try address.field("ifa_broadcast")
            scope = try address.field("ifa_scope")
            addressFlags = try address.field("ifa_flags")
            label = try address.field("ifa_label")
            origin = address.optional("ifa_proto")
            routePriority = address.optional("ifa_rt_priority")
            routes = NetworkRouteLayout(types)
            routes6 = NetworkRoute6Layout(types)
            if let pointer = device.optional("ip6_ptr"), types.has("inet6_dev"), types.has("inet6_ifaddr") {
                let address = try types.structure("inet6_ifaddr")
                internet6 = (
                    pointer, try types.structure("inet6_dev").field("addr_list"), try address.field("if_list"),
                    try address.field("addr"), try address.field("prefix_len"), try address.field("scope"),
                    try address.field("flags"), try address.field("peer_addr"), address.optional("ifa_proto"),
                    address.optional("rt_priority")
                )
            } else {
                internet6 = nil
            }
            // Since 4.16 (commit b0f38338aef2) an array for each family.
            packetFilters = ["nf.hooks_ipv4", "nf.hooks_ipv6", "nf.hooks_arp", "nf.hooks_bridge"].compactMap {
                net.optional($0)
            }
            let hooks = try types.structure("nf_hook_entries")
            hookCount = try hooks.field("num_hook_entries")
            firstHook = try hooks.field("hooks")
            hookSize = try types.structure("nf_hook_entry").size
            customRules = ["ipv4.fib_has_custom_rules", "ipv6.fib6_has_custom_rules"].compactMap { net.optional($0) }
            securityCounts = ["xfrm.state_num", "xfrm.policy_count"].compactMap { net.optional($0) }
            queueing = QueueingLayout(types)
            neighbours = NeighbourLayout(types)
            settings = NetworkSettingsLayout(types)
        } catch {
            return nil
        }
    }
}

extension GroupBuilder {
    /// Of a namespace, and above one of them, which bounds both together.
    private static let deviceLimit = 1 << 12
    /// Names of link types are words like "ipvlan".
    private static let kindLimit = 64
    /// ARPHRD_LOOPBACK
    private static let loopbackType: UInt64 = 772

    func networkNamespace(at namespace: VirtualAddress, _ layout: NetworkNamespaceLayout) throws(MemoryFault)
        -> NetworkNamespace
    {
        let reader = kernel.reader
        var result = NetworkNamespace()
        var budget = NetworkBudget()
        var addresses: [VirtualAddress] = []
        let fault = reader.forEach(
            onList: namespace + layout.devices.offset, link: layout.link, limit: Self.deviceLimit, { addresses.append($0) })
        if let fault { throw fault }
        for address in addresses {
            var device = try device(at: address, layout, &budget)
            if let master = try master(of: address, layout, &budget) {
                device.master = try reader.uint32(layout.index, of: master)
            }
            if device.kind == "veth" { result.peers[device.index] = try peer(of: address, layout, &budget) }
            let data = address + layout.privateData
            device.details = try details(of: address, kind: device.kind, data: data)
            if device.kind == "macvlan", let lower = try lowerDevice(ofMacvlan: data) {
                result.lowerDevices[device.index] = try otherDevice(at: lower, layout, &budget)
            }
            if let queueing = layout.queueing { try readQueueing(of: address, queueing, into: &device) }
            result.devices.append(device)
        }
        if let routes = layout.routes {
            try readRoutes(of: namespace, routes, &budget, into: &result)
        } else {
            result.unknownRoutes = 1
        }
        if let routes = layout.routes6 {
            try readRoutes6(of: namespace, routes, &budget, into: &result)
        } else if layout.internet6 != nil {
            result.unknownRoutes += 1
        }
        readPacketFilter(of: namespace, layout, into: &result)
        for field in layout.customRules where try reader.value(field, of: namespace) != 0 { result.hasRoutingRules = true }
        if let neighbours = layout.neighbours {
            result.permanentNeighbours = try permanentNeighbours(of: Set(addresses), neighbours, &budget)
        }
        for field in layout.securityCounts where try reader.bytes(field, of: namespace).contains(where: { $0 != 0 }) {
            result.hasIPsec = true
        }
        if let settings = layout.settings, let guest = try guestNetwork() {
            try readSettings(of: namespace, guest: guest, settings, into: &result)
        }
        return result
    }

    /// `peer` is the first member of `struct veth_priv` (drivers/net/veth.c, since it was added in 2.6.24).
    private func peer(of device: VirtualAddress, _ layout: NetworkNamespaceLayout, _ budget: inout NetworkBudget)
        throws(MemoryFault) -> NetworkPeer?
    {
        let reader = kernel.reader
        let other = try reader.memory.pointer(at: device + layout.privateData)
        // The other end may be on its way out.
        if other.isNull { return nil }
        guard try reader.memory.pointer(at: other + layout.privateData) == device else {
            throw MemoryFault(.damaged("veth whose other end does not lead back"), at: device)
        }
        return try otherDevice(at: other, layout, &budget)
    }

    /// A device that one of a namespace belongs to, in another namespace perhaps.
    private func otherDevice(at other: VirtualAddress, _ layout: NetworkNamespaceLayout, _ budget: inout NetworkBudget)
        throws(MemoryFault) -> NetworkPeer
    {
        let namespace = try kernel.reader.pointer(layout.namespace, of: other)
        var result = NetworkPeer(
            isInGuest: try namespace == guestNetwork(), device: try self.device(at: other, layout, &budget))
        result.namespace = try kernel.reader.uint32(kernel.layout.namespaces.network.number, of: namespace)
        if let master = try master(of: other, layout, &budget) {
            result.master = try self.device(at: master, layout, &budget)
        }
        return result
    }

    /// What a device is a port of.
    private func master(of device: VirtualAddress, _ layout: NetworkNamespaceLayout, _ budget: inout NetworkBudget)
        throws(MemoryFault) -> VirtualAddress?
    {
        let reader = kernel.reader
        var upper: [VirtualAddress] = []
        let fault = reader.forEach(
            onList: device + layout.upper.offset, link: layout.upperLink, limit: Self.deviceLimit, { upper.append($0) })
        if let fault { throw fault }
        try budget.spend(steps: upper.count, at: device)
        for adjacent in upper where try reader.value(layout.upperIsMaster, of: adjacent) & 1 == 1 {
            return try reader.pointer(layout.upperDevice, of: adjacent)
        }
        return nil
    }

    private func guestNetwork() throws(MemoryFault) -> VirtualAddress? {
        guard let proxy = kernel.manifest.symbols.addresses["init_nsproxy"] else { return nil }
        return try kernel.reader.pointer(kernel.layout.namespaces.network.pointer, of: proxy)
    }

    private func device(at device: VirtualAddress, _ layout: NetworkNamespaceLayout, _ budget: inout NetworkBudget)
        throws(MemoryFault) -> NetworkDevice
    {
        let reader = kernel.reader
        var result = NetworkDevice(
            index: try reader.uint32(layout.index, of: device),
            name: KernelString(bytes: try reader.text(layout.name, of: device)),
            mtu: try reader.uint32(layout.mtu, of: device), flags: try flags(of: device, layout),
            isLoopback: try reader.value(layout.hardwareType, of: device) == Self.loopbackType)
        let operations = try reader.pointer(layout.linkOperations, of: device)
        if !operations.isNull {
            let kind = try reader.memory.string(at: reader.pointer(layout.kind, of: operations), limit: Self.kindLimit)
            result.kind = KernelString(bytes: Array(kind.utf8))
        }
        // MAX_ADDR_LEN
        let length = min(try reader.value(layout.hardwareAddressLength, of: device), 32)
        result.hardwareAddress = try reader.memory.bytes(
            at: reader.pointer(layout.hardwareAddress, of: device), count: Int(length))
        result.addresses = try addresses(of: device, layout, &budget) + addresses6(of: device, layout, &budget)
        return result
    }

    /// As dev_get_flags of net/core/dev.c tells them: a bridge has its ports hear everything, which nobody has asked of these.
    private func flags(of device: VirtualAddress, _ layout: NetworkNamespaceLayout) throws(MemoryFault) -> UInt32 {
        // IFF_PROMISC, IFF_ALLMULTI
        let counted: UInt32 = 0x300
        let own = UInt32(truncatingIfNeeded: try kernel.reader.value(layout.ownFlags, of: device))
        return try kernel.reader.uint32(layout.flags, of: device) & ~counted | own & counted
    }

    private func addresses(of device: VirtualAddress, _ layout: NetworkNamespaceLayout, _ budget: inout NetworkBudget)
        throws(MemoryFault) -> [NetworkAddress]
    {
        let reader = kernel.reader
        let internet = try reader.pointer(layout.internetDevice, of: device)
        if internet.isNull { return [] }
        var result: [NetworkAddress] = []
        var next = try reader.pointer(layout.firstAddress, of: internet)
        while !next.isNull {
            try budget.spend(addresses: 1, at: device)
            var address = NetworkAddress(
                bytes: try reader.bytes(layout.address, of: next),
                prefixLength: try reader.uint32(layout.prefixLength, of: next))
            address.remote = try reader.bytes(layout.remote, of: next)
            address.broadcast = try reader.bytes(layout.broadcast, of: next)
            address.scope = UInt8(truncatingIfNeeded: try reader.value(layout.scope, of: next))
            address.flags = try reader.uint32(layout.addressFlags, of: next)
            if let field = layout.routePriority { address.routePriority = try reader.uint32(field, of: next) }
            address.label = KernelString(bytes: try reader.text(layout.label, of: next))
            if let origin = layout.origin { address.origin = UInt8(truncatingIfNeeded: try reader.value(origin, of: next)) }
            result.append(address)
            next = try reader.pointer(layout.nextAddress, of: next)
        }
        return result
    }

    private func addresses6(of device: VirtualAddress, _ layout: NetworkNamespaceLayout, _ budget: inout NetworkBudget)
        throws(MemoryFault) -> [NetworkAddress]
    {
        let reader = kernel.reader
        guard let fields = layout.internet6 else { return [] }
        let internet = try reader.pointer(fields.device, of: device)
        if internet.isNull { return [] }
        var found: [VirtualAddress] = []
        let fault = reader.forEach(
            onList: internet + fields.addresses.offset, link: fields.link, limit: budget.addresses, { found.append($0) })
        if let fault { throw fault }
        try budget.spend(addresses: found.count, at: device)
        var result: [NetworkAddress] = []
        for next in found {
            var address = NetworkAddress(
                bytes: try reader.bytes(fields.address, of: next),
                prefixLength: try reader.uint32(fields.prefixLength, of: next))
            let remote = try reader.bytes(fields.remote, of: next)
            if remote.contains(where: { $0 != 0 }) { address.remote = remote }
            address.scope = try scope6(reader.value(fields.scope, of: next))
            address.flags = try reader.uint32(fields.flags, of: next)
            if let field = fields.routePriority { address.routePriority = try reader.uint32(field, of: next) }
            if let origin = fields.origin { address.origin = UInt8(truncatingIfNeeded: try reader.value(origin, of: next)) }
            result.append(address)
        }
        return result
    }

    /// RT_SCOPE_* of what IPv6 calls IFA_HOST, IFA_LINK and IFA_SITE (rt_scope, net/ipv6/addrconf.c).
    private func scope6(_ scope: UInt64) -> UInt8 {
        if scope & 0x10 != 0 { return 254 }
        if scope & 0x20 != 0 { return 253 }
        return scope & 0x40 != 0 ? 200 : 0
    }
}
