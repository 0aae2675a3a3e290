import NetlinkMessages
import ProcessModel

/// What `ip addr save` and `ip route save` of iproute2 write, and CRIU gives to their `restore`: a magic number, and messages of rtnetlink
/// (include/uapi/linux/rtnetlink.h) that make what they tell of.
struct RoutingDump {
    private(set) var bytes: [UInt8]

    /// IPADDR_DUMP_MAGIC of ip/ipaddress.c.
    /// - Parameter routes: those that are made right after.
    static func addresses(of devices: [NetworkDevice], before routes: [NetworkRoute]) -> RoutingDump {
        var dump = RoutingDump(magic: 0x4736_1222)
        let sources = Set(routes.map(\.preferredSource))
        for device in devices {
            for address in device.addresses where NetworkAssessment.isSaved(address) {
                dump.append(address, of: device, isSource: sources.contains(address.bytes))
            }
        }
        return dump
    }

    /// `route_dump_magic` of ip/iproute.c.
    static func routes(_ routes: [NetworkRoute]) -> RoutingDump {
        var dump = RoutingDump(magic: 0x4531_1224)
        for route in routes { dump.append(route) }
        return dump
    }

    private init(magic: UInt32) { bytes = magic.littleEndianBytes }

    private static func family(_ bytes: [UInt8]) -> UInt8 { bytes.count == 4 ? 2 : 10 }

    /// With IFA_F_NODAD for an address of IPv6 that was in use and is the source of a route. Without it the kernel would ask the link first whether somebody else
    /// has the address, and until then it is tentative and no source of a route, while CRIU makes the routes at once.
    private static func flags(_ address: NetworkAddress, isSource: Bool) -> UInt32 {
        let (withoutAsking, failed, tentative): (UInt32, UInt32, UInt32) = (0x02, 0x08, 0x40)
        let isInUse = address.bytes.count == 16 && address.flags & (failed | tentative) == 0
        return isSource && isInUse ? address.flags | withoutAsking : address.flags
    }

    /// RTM_NEWADDR with `struct ifaddrmsg`.
    private mutating func append(_ address: NetworkAddress, of device: NetworkDevice, isSource: Bool) {
        let flags = Self.flags(address, isSource: isSource)
        let header: [UInt8] =
            [
                Self.family(address.bytes), UInt8(clamping: address.prefixLength), UInt8(truncatingIfNeeded: flags),
                address.scope,
            ] + device.index.littleEndianBytes
        // IFA_ADDRESS, IFA_LOCAL, IFA_LABEL, IFA_BROADCAST, IFA_FLAGS
        var attributes: [(UInt16, [UInt8])] = [(1, address.remote), (2, address.bytes)]
        if !address.label.isEmpty { attributes.append((3, address.label.bytes + [0])) }
        if address.broadcast.contains(where: { $0 != 0 }) { attributes.append((4, address.broadcast)) }
        attributes.append((8, flags.littleEndianBytes))
        // IFA_RT_PRIORITY
        if address.routePriority != 0 { attributes.append((9, address.routePriority.littleEndianBytes)) }
        // IFA_PROTO
        if address.origin != 0 { attributes.append((11, [address.origin])) }
        append(type: 20, header, attributes)
    }

    /// RTM_NEWROUTE with `struct rtmsg`.
    private mutating func append(_ route: NetworkRoute) {
        // RTNH_F_ONLINK
        let flags: UInt32 = route.isOnLink ? 4 : 0
        // RT_TABLE_COMPAT stands for numbers that need an attribute.
        let header: [UInt8] =
            [
                Self.family(route.destination), route.prefixLength, 0, route.typeOfService,
                route.table < 256 ? UInt8(route.table) : 252,
                route.routingProtocol,
                route.scope, route.type,
            ] + flags.littleEndianBytes
        // RTA_TABLE, RTA_DST, RTA_OIF, RTA_GATEWAY, RTA_PRIORITY, RTA_PREFSRC
        var attributes: [(UInt16, [UInt8])] = [(15, route.table.littleEndianBytes)]
        if route.prefixLength > 0 { attributes.append((1, route.destination)) }
        if route.device != 0 { attributes.append((4, route.device.littleEndianBytes)) }
        if let gateway = route.gateway { attributes.append((5, gateway)) }
        if route.priority != 0 { attributes.append((6, route.priority.littleEndianBytes)) }
        if route.preferredSource.contains(where: { $0 != 0 }) { attributes.append((7, route.preferredSource)) }
        append(type: 24, header, attributes)
    }

    /// Flags, sequence and sender are those of who sends it.
    private mutating func append(type: UInt16, _ header: [UInt8], _ attributes: [(UInt16, [UInt8])]) {
        let message = NetlinkMessage(type: type, flags: 0, sequence: 0, header: header) { list in
            for (kind, value) in attributes { list.append(kind, value) }
        }
        bytes += message.bytes
    }
}
