import GuestMemory
import KernelObjects
import KernelTypes
import ProcessModel

extension DeadKernel {
    /// The types of a driver: its own where it is a module, else the kernel's. nil: they are not known.
    func types(with structure: String, ofModule module: String) -> TypeTable? {
        if manifest.types.has(structure) { return manifest.types }
        guard let types = try? moduleTypes(module), types.has(structure) else { return nil }
        return types
    }
}

extension GroupBuilder {
    /// What a device was made with; nil for a kind that is not known here, or of which the kernel has no types.
    ///
    /// - Parameter data: where the driver's own data are.
    func details(of device: VirtualAddress, kind: KernelString, data: VirtualAddress) throws(MemoryFault)
        -> NetworkDevice.Details?
    {
        switch kind {
        case "tun": try tunnel(of: device, data)
        case "sit": try sitTunnel(of: device, data)
        case "macvlan": try macvlan(of: device, data)
        default: nil
        }
    }

    /// Fails unless a driver's data lead back to the device.
    private func check(_ back: Field, of data: VirtualAddress, device: VirtualAddress) throws(MemoryFault) {
        guard try kernel.reader.pointer(back, of: data) == device else {
            throw MemoryFault(.damaged("a driver's data that do not lead back to the device"), at: data)
        }
    }

    /// The flags that /sys/class/net/NAME/tun_flags shows (tun_flags, drivers/net/tun.c): IFF_TUN, IFF_TAP, IFF_NAPI, IFF_NAPI_FRAGS, IFF_MULTI_QUEUE, IFF_PERSIST, IFF_NO_PI,
    /// IFF_ONE_QUEUE and IFF_VNET_HDR.
    private static let tunnelFlags: UInt64 = 0x7933

    private func tunnel(of device: VirtualAddress, _ data: VirtualAddress) throws(MemoryFault) -> NetworkDevice.Details? {
        guard let types = kernel.types(with: "tun_struct", ofModule: "tun"), let tunnel = try? types.structure("tun_struct"),
            let back = tunnel.optional("dev"), let flags = tunnel.optional("flags"), let owner = tunnel.optional("owner.val"),
            let group = tunnel.optional("group.val"), let header = tunnel.optional("vnet_hdr_sz"),
            let buffer = tunnel.optional("sndbuf"), let filter = tunnel.optional("filter_attached")
        else { return nil }
        try check(back, of: data, device: device)
        let reader = kernel.reader
        var hasFilter = try reader.value(filter, of: data) & 0xff != 0
        for name in ["xdp_prog", "steering_prog", "filter_prog"] {
            if let program = tunnel.optional(name), try !reader.pointer(program, of: data).isNull { hasFilter = true }
        }
        return .tunnel(
            NetworkDevice.Tunnel(
                flags: UInt32(truncatingIfNeeded: try reader.value(flags, of: data) & Self.tunnelFlags),
                owner: try reader.int32(owner, of: data), group: try reader.int32(group, of: data),
                headerBytes: try reader.uint32(header, of: data), sendBufferBytes: try reader.uint32(buffer, of: data),
                hasFilter: hasFilter))
    }

    private func sitTunnel(of device: VirtualAddress, _ data: VirtualAddress) throws(MemoryFault) -> NetworkDevice.Details? {
        guard let types = kernel.types(with: "ip_tunnel", ofModule: "sit"), let tunnel = try? types.structure("ip_tunnel"),
            let back = tunnel.optional("dev"), let link = tunnel.optional("parms.link"),
            let header = tunnel.optional("parms.iph"), let flags = tunnel.optional("parms.i_flags"),
            let encapsulation = tunnel.optional("encap.type")
        else { return nil }
        try check(back, of: data, device: device)
        let reader = kernel.reader
        // `struct iphdr`.
        let bytes = try reader.memory.bytes(at: data + header.offset, count: 20)
        var isSpecial = try reader.value(encapsulation, of: data) != 0
        isSpecial = try reader.bytes(flags, of: data).contains { $0 != 0 } || isSpecial
        // IP_DF: without it the path's MTU is not looked for.
        if bytes[6] & 0x40 == 0 { isSpecial = true }
        if let prefix = tunnel.optional("ip6rd.prefix"), let length = tunnel.optional("ip6rd.prefixlen"),
            let relay = tunnel.optional("ip6rd.relay_prefixlen")
        {
            // 2002::/16, as ipip6_tunnel_init has it.
            let first = try reader.bytes(prefix, of: data)
            let lengths = (try reader.value(length, of: data), try reader.value(relay, of: data))
            let isUsual = first.starts(with: [0x20, 0x02]) && first.dropFirst(2).allSatisfy { $0 == 0 } && lengths == (16, 0)
            if !isUsual { isSpecial = true }
        }
        return .sit(
            NetworkDevice.SitTunnel(
                link: try reader.uint32(link, of: data), local: Array(bytes[12..<16]), remote: Array(bytes[16..<20]),
                timeToLive: bytes[8], typeOfService: bytes[1], transport: bytes[9], isSpecial: isSpecial))
    }

    private func macvlan(of device: VirtualAddress, _ data: VirtualAddress) throws(MemoryFault) -> NetworkDevice.Details? {
        guard let types = kernel.types(with: "macvlan_dev", ofModule: "macvlan"),
            let macvlan = try? types.structure("macvlan_dev"), let back = macvlan.optional("dev"),
            let mode = macvlan.optional("mode"), let flags = macvlan.optional("flags"),
            let sources = macvlan.optional("macaddr_count")
        else { return nil }
        try check(back, of: data, device: device)
        return .macvlan(
            NetworkDevice.Macvlan(
                mode: try kernel.reader.uint32(mode, of: data),
                flags: UInt16(truncatingIfNeeded: try kernel.reader.value(flags, of: data)),
                hasSources: try kernel.reader.value(sources, of: data) != 0))
    }

    /// The device of the guest that a macvlan lies on; nil: it is none.
    func lowerDevice(ofMacvlan data: VirtualAddress) throws(MemoryFault) -> VirtualAddress? {
        guard let types = kernel.types(with: "macvlan_dev", ofModule: "macvlan"),
            let lower = (try? types.structure("macvlan_dev"))?.optional("lowerdev")
        else { return nil }
        let device = try kernel.reader.pointer(lower, of: data)
        return device.isNull ? nil : device
    }
}
