import GuestMemory
import KernelObjects
import KernelTypes
import ProcessModel

/// The routes of IPv4: `struct fib_table` (include/net/ip_fib.h), whose `struct trie` (net/ipv4/fib_trie.c) leads to `struct fib_alias` and `struct fib_info`.
struct NetworkRouteLayout: Sendable {
    let tables: Field
    /// FIB_TABLE_HASHSZ: 256 with CONFIG_IP_MULTIPLE_TABLES, else 2.
    let tableCount: Int
    let tableLink, trie: Field
    let root: Field
    let key, bits, leaf, children: Field
    let aliasLink, info, type, suffixLength, table, service: Field
    let routingProtocol, scope, source, priority, metrics, hopCount, firstHop: Field
    let hopObject: Field?
    let hop: NextHopLayout

    /// nil for a kernel whose structures are other ones.
    init?(_ types: TypeTable) {
        do throws(KernelError) {
            let net = try types.structure("net")
            tables = try net.field("ipv4.fib_table_hash")
            tableCount = net.optional("ipv4.rules_ops") == nil ? 2 : 256
            let fib = try types.structure("fib_table")
            tableLink = try fib.field("tb_hlist")
            trie = try fib.field("tb_data")
            root = try types.structure("trie").field("kv")
            let node = try types.structure("key_vector")
            key = try node.field("key")
            bits = try node.field("bits")
            leaf = try node.field("leaf")
            children = try node.field("tnode")
            let alias = try types.structure("fib_alias")
            aliasLink = try alias.field("fa_list")
            info = try alias.field("fa_info")
            type = try alias.field("fa_type")
            suffixLength = try alias.field("fa_slen")
            table = try alias.field("tb_id")
            // `fa_dscp` since 5.18 (commit 32ccf1107980), with the same bits.
            service = try alias.field(anyOf: "fa_dscp", "fa_tos")
            let route = try types.structure("fib_info")
            routingProtocol = try route.field("fib_protocol")
            scope = try route.field("fib_scope")
            source = try route.field("fib_prefsrc")
            priority = try route.field("fib_priority")
            metrics = try route.field("fib_metrics")
            hopCount = try route.field("fib_nhs")
            hopObject = route.optional("nh")
            firstHop = try route.field("fib_nh")
            hop = try NextHopLayout(types, of: "fib_nh")
        } catch {
            return nil
        }
    }
}

extension GroupBuilder {
    /// Of those that wait to be looked at.
    private static let nodeLimit = 1 << 20
    private static let routeLimit = 1 << 18
    /// RTPROT_KERNEL: of an address or of a device.
    private static let ofTheKernel: UInt8 = 2
    /// RTN_LOCAL, RTN_BROADCAST, RTN_ANYCAST and RTN_MULTICAST, which the kernel makes.
    private static let ownTypes: ClosedRange<UInt8> = 2...5
    /// RTN_UNICAST
    private static let unicast: UInt8 = 1

    /// Reads the routes that somebody has set.
    func readRoutes(
        of namespace: VirtualAddress, _ layout: NetworkRouteLayout, _ budget: inout NetworkBudget,
        into result: inout NetworkNamespace
    ) throws(MemoryFault) {
        let reader = kernel.reader
        let heads = try reader.pointer(layout.tables, of: namespace)
        // The namespace may be on its way in or out.
        if heads.isNull { return }
        // The tables "local" and "main" share a trie until somebody sets a rule (fib_trie_unmerge).
        var tries: Set<VirtualAddress> = []
        for index in 0..<layout.tableCount {
            var link = try reader.memory.pointer(at: heads + index * 8)
            while !link.isNull {
                try budget.spend(at: heads)
                tries.insert(try reader.pointer(layout.trie, of: link - layout.tableLink.offset))
                link = try reader.memory.pointer(at: link)
            }
        }
        for trie in tries.sorted() { try readRoutes(inTrie: trie, layout, &budget, into: &result) }
    }

    private func readRoutes(
        inTrie trie: VirtualAddress, _ layout: NetworkRouteLayout, _ budget: inout NetworkBudget,
        into result: inout NetworkNamespace
    ) throws(MemoryFault) {
        let reader = kernel.reader
        let unrouted = result.devicesWithoutPrefixRoutes(addressSize: 4)
        // The root is no node itself, its only child is the first one.
        var waiting = [try reader.memory.pointer(at: trie + layout.root.offset + layout.children.offset)]
        while let node = waiting.popLast() {
            if node.isNull { continue }
            try budget.spend(at: trie)
            let bits = try reader.value(layout.bits, of: node)
            guard bits > 0 else {
                try readLeaf(node, layout, unrouted: unrouted, &budget, into: &result)
                continue
            }
            guard bits <= 20, waiting.count + (1 << Int(bits)) <= Self.nodeLimit else {
                throw MemoryFault(.damaged("node of 2^\(bits) routes"), at: node)
            }
            try budget.spend(steps: 1 << Int(bits), at: node)
            for index in 0..<(1 << Int(bits)) {
                waiting.append(try reader.memory.pointer(at: node + layout.children.offset + index * 8))
            }
        }
    }

    /// - Parameter unrouted: devices whose routes of the kernel are not all made again with their addresses.
    private func readLeaf(
        _ leaf: VirtualAddress, _ layout: NetworkRouteLayout, unrouted: Set<UInt32>, _ budget: inout NetworkBudget,
        into result: inout NetworkNamespace
    ) throws(MemoryFault) {
        let reader = kernel.reader
        let key = try reader.uint32(layout.key, of: leaf)
        var link = try reader.pointer(layout.leaf, of: leaf)
        while !link.isNull {
            try budget.spend(at: leaf)
            guard result.routes.count + result.unknownRoutes < Self.routeLimit else {
                throw MemoryFault(.damaged("too many routes"), at: leaf)
            }
            let alias = link - layout.aliasLink.offset
            link = try reader.memory.pointer(at: link)
            let info = try reader.pointer(layout.info, of: alias)
            let type = UInt8(truncatingIfNeeded: try reader.value(layout.type, of: alias))
            let routingProtocol = UInt8(truncatingIfNeeded: try reader.value(layout.routingProtocol, of: info))
            let isOfTheKernel = routingProtocol == Self.ofTheKernel
            if Self.ownTypes.contains(type) || isOfTheKernel && (type != Self.unicast || unrouted.isEmpty) { continue }
            let suffix = try reader.value(layout.suffixLength, of: alias)
            guard suffix <= 32 else { throw MemoryFault(.damaged("route of \(suffix) bits"), at: alias) }
            guard let hop = try hop(of: info, layout) else {
                if !isOfTheKernel { result.unknownRoutes += 1 }
                continue
            }
            if isOfTheKernel, !unrouted.contains(hop.device) { continue }
            var route = NetworkRoute(
                table: try reader.uint32(layout.table, of: alias),
                destination: [24, 16, 8, 0].map { UInt8(truncatingIfNeeded: key >> $0) },
                prefixLength: UInt8(32 - suffix), type: type, routingProtocol: routingProtocol,
                scope: UInt8(truncatingIfNeeded: try reader.value(layout.scope, of: info)),
                typeOfService: UInt8(truncatingIfNeeded: try reader.value(layout.service, of: alias)),
                priority: try reader.uint32(layout.priority, of: info),
                preferredSource: Array(try reader.bytes(layout.source, of: info).prefix(4)), device: hop.device,
                gateway: hop.gateway)
            route.isOnLink = hop.isOnLink
            result.routes.append(route)
        }
    }

    /// Where a route leads to; nil: to several places, or in a way that is not known here.
    private func hop(of info: VirtualAddress, _ layout: NetworkRouteLayout) throws(MemoryFault) -> NextHop? {
        let reader = kernel.reader
        if let field = layout.hopObject, try !reader.pointer(field, of: info).isNull { return nil }
        if try hasMetrics(reader.pointer(layout.metrics, of: info), layout.hop) { return nil }
        switch try reader.value(layout.hopCount, of: info) {
        // Of a route that leads nowhere ("blackhole").
        case 0: return NextHop()
        case 1: break
        default: return nil
        }
        return try hop(at: info + layout.firstHop.offset, layout.hop, family: 2, addressSize: 4)
    }
}

extension NetworkNamespace {
    /// Devices with an address of a family for which the kernel makes no route to its prefix (IFA_F_NOPREFIXROUTE): somebody else may have made one in its
    /// name, as NetworkManager does. What the kernel makes by itself for other addresses is there by then, which `ip route restore` forgives.
    func devicesWithoutPrefixRoutes(addressSize: Int) -> Set<UInt32> {
        Set(devices.filter { $0.addresses.contains { $0.bytes.count == addressSize && $0.flags & 0x200 != 0 } }.map(\.index))
    }
}
