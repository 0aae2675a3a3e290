import GuestMemory
import KernelObjects
import KernelTypes
import ProcessModel

/// The routes of IPv6: `struct fib6_table` (include/net/ip6_fib.h), a tree of `struct fib6_node` whose leaves are lists of `struct fib6_info`.
struct NetworkRoute6Layout: Sendable {
    let tables: Field
    /// FIB6_TABLE_HASHSZ: 256 with CONFIG_IPV6_MULTIPLE_TABLES, else 1.
    let tableCount: Int
    let tableLink, root, tableNumber: Field
    let left, right, leaf, nodeFlags: Field
    /// With CONFIG_IPV6_SUBTREES: routes by where packets come from.
    let subtree: Field?
    let next, siblings, metrics, destination, prefixLength, preferredSource, priority: Field
    let sourceLength: Field?
    let routingProtocol, type, flags, firstHop: Field
    let hopObject: Field?
    let hop: NextHopLayout

    /// nil for a kernel without IPv6, or whose structures are other ones.
    init?(_ types: TypeTable) {
        do throws(KernelError) {
            let net = try types.structure("net")
            tables = try net.field("ipv6.fib_table_hash")
            tableCount = net.optional("ipv6.fib6_rules_ops") == nil ? 1 : 256
            let table = try types.structure("fib6_table")
            tableLink = try table.field("tb6_hlist")
            root = try table.field("tb6_root")
            tableNumber = try table.field("tb6_id")
            let node = try types.structure("fib6_node")
            left = try node.field("left")
            right = try node.field("right")
            leaf = try node.field("leaf")
            nodeFlags = try node.field("fn_flags")
            subtree = node.optional("subtree")
            let route = try types.structure("fib6_info")
            next = try route.field("fib6_next")
            siblings = try route.field("fib6_nsiblings")
            metrics = try route.field("fib6_metrics")
            destination = try route.field("fib6_dst.addr")
            prefixLength = try route.field("fib6_dst.plen")
            sourceLength = route.optional("fib6_src.plen")
            preferredSource = try route.field("fib6_prefsrc")
            priority = try route.field("fib6_metric")
            routingProtocol = try route.field("fib6_protocol")
            type = try route.field("fib6_type")
            flags = try route.field("fib6_flags")
            hopObject = route.optional("nh")
            firstHop = try route.field("fib6_nh")
            hop = try NextHopLayout(types, of: "fib6_nh")
        } catch {
            return nil
        }
    }
}

extension GroupBuilder {
    private static let table6Limit = 1 << 12
    private static let route6Limit = 1 << 18
    /// RTPROT_REDIRECT, RTPROT_KERNEL and RTPROT_RA: of an address, of a device, and what routers tell again.
    private static let learned: Set<UInt8> = [1, 2, 9]
    /// RTPROT_KERNEL and RTN_UNICAST.
    private static let ofTheKernel6: UInt8 = 2
    private static let unicast6: UInt8 = 1

    /// Reads the routes of IPv6 that somebody has set.
    func readRoutes6(
        of namespace: VirtualAddress, _ layout: NetworkRoute6Layout, _ budget: inout NetworkBudget,
        into result: inout NetworkNamespace
    ) throws(MemoryFault) {
        let reader = kernel.reader
        let heads = try reader.pointer(layout.tables, of: namespace)
        if heads.isNull { return }
        var tables: Set<VirtualAddress> = []
        for index in 0..<layout.tableCount {
            var link = try reader.memory.pointer(at: heads + index * 8)
            while !link.isNull {
                guard tables.insert(link - layout.tableLink.offset).inserted, tables.count <= Self.table6Limit else {
                    throw MemoryFault(.damaged("list of routing tables"), at: heads)
                }
                link = try reader.memory.pointer(at: link)
            }
        }
        let unrouted = result.devicesWithoutPrefixRoutes(addressSize: 16)
        for table in tables.sorted() {
            let number = try reader.uint32(layout.tableNumber, of: table)
            var waiting = [table + layout.root.offset]
            while let node = waiting.popLast() {
                if node.isNull { continue }
                try budget.spend(at: table)
                for child in [layout.left, layout.right] { waiting.append(try reader.pointer(child, of: node)) }
                if let subtree = layout.subtree, try !reader.pointer(subtree, of: node).isNull { result.unknownRoutes += 1 }
                // RTN_RTINFO: others lead to a leaf of a node below them.
                guard try reader.value(layout.nodeFlags, of: node) & 4 != 0 else { continue }
                try readLeaf6(
                    reader.pointer(layout.leaf, of: node), table: number, layout, unrouted: unrouted, &budget, into: &result)
            }
        }
    }

    private func readLeaf6(
        _ first: VirtualAddress, table: UInt32, _ layout: NetworkRoute6Layout, unrouted: Set<UInt32>,
        _ budget: inout NetworkBudget, into result: inout NetworkNamespace
    ) throws(MemoryFault) {
        let reader = kernel.reader
        var route = first
        while !route.isNull {
            try budget.spend(at: first)
            guard result.routes.count + result.unknownRoutes < Self.route6Limit else {
                throw MemoryFault(.damaged("too many routes"), at: first)
            }
            if let found = try route6(at: route, table: table, layout, unrouted: unrouted, unknown: &result.unknownRoutes) {
                result.routes.append(found)
            }
            route = try reader.pointer(layout.next, of: route)
        }
    }

    /// nil for one that the kernel makes itself, and one that is not understood.
    private func route6(
        at route: VirtualAddress, table: UInt32, _ layout: NetworkRoute6Layout, unrouted: Set<UInt32>, unknown: inout Int
    ) throws(MemoryFault) -> NetworkRoute? {
        let reader = kernel.reader
        let routingProtocol = UInt8(truncatingIfNeeded: try reader.value(layout.routingProtocol, of: route))
        // RTF_ADDRCONF and RTF_EXPIRES.
        let flags = try reader.uint32(layout.flags, of: route)
        let type = UInt8(truncatingIfNeeded: try reader.value(layout.type, of: route))
        let isOfTheKernel = routingProtocol == Self.ofTheKernel6
        let isKept = isOfTheKernel && type == Self.unicast6 && !unrouted.isEmpty
        if Self.learned.contains(routingProtocol) && !isKept || flags & 0x0044_0000 != 0 { return nil }
        let length = try reader.value(layout.prefixLength, of: route)
        guard length <= 128 else { throw MemoryFault(.damaged("route of \(length) bits"), at: route) }
        let hasMetrics = try hasMetrics(reader.pointer(layout.metrics, of: route), layout.hop)
        let hasSource = try layout.sourceLength.map { length throws(MemoryFault) in try reader.value(length, of: route) != 0 }
        let hasSiblings = try reader.value(layout.siblings, of: route) != 0
        var isKnown = !hasMetrics && hasSource != true && !hasSiblings
        if let field = layout.hopObject, try !reader.pointer(field, of: route).isNull { isKnown = false }
        guard isKnown, let hop = try hop(at: route + layout.firstHop.offset, layout.hop, family: 10, addressSize: 16) else {
            if !isOfTheKernel { unknown += 1 }
            return nil
        }
        if isOfTheKernel, !unrouted.contains(hop.device) { return nil }
        // RTN_BLACKHOLE, RTN_UNREACHABLE and RTN_PROHIBIT lead to loopback.
        let isDeadEnd = (6...8).contains(type)
        // `struct rt6key`: the address, and the length of its prefix.
        let source = try reader.bytes(layout.preferredSource, of: route)
        var result = NetworkRoute(
            table: table, destination: Array(try reader.bytes(layout.destination, of: route).prefix(16)),
            prefixLength: UInt8(length), type: type, routingProtocol: routingProtocol, scope: 0,
            priority: try reader.uint32(layout.priority, of: route), preferredSource: Array(source.prefix(16)),
            device: isDeadEnd ? 0 : hop.device, gateway: hop.gateway)
        result.isOnLink = hop.isOnLink
        return result
    }
}
