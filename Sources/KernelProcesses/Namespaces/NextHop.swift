import GuestMemory
import KernelObjects
import KernelTypes

/// `struct fib_nh_common` (include/net/ip_fib.h), with which a route's next hop begins, and what the route asks of its packets.
struct NextHopLayout: Sendable {
    let device, gatewayFamily, gateway, tunnel, flags: Field
    /// `struct dst_metrics`.
    let metricValues: Field

    /// - Parameter structure: `fib_nh` or `fib6_nh`.
    init(_ types: TypeTable, of structure: String) throws(KernelError) {
        let hop = try types.structure(structure)
        device = try hop.field("nh_common.nhc_oif")
        gatewayFamily = try hop.field("nh_common.nhc_gw_family")
        gateway = try hop.field("nh_common.nhc_gw")
        tunnel = try hop.field("nh_common.nhc_lwtstate")
        flags = try hop.field("nh_common.nhc_flags")
        metricValues = try types.structure("dst_metrics").field("metrics")
    }
}

/// Where a route leads to.
struct NextHop {
    /// Number of the device; 0: none.
    var device: UInt32 = 0
    var gateway: [UInt8]?
    var isOnLink = false
}

extension GroupBuilder {
    /// RTNH_F_ONLINK
    private static let isOnLink: UInt64 = 4

    /// Where a route leads to, through a gateway of its own family; nil: in a way that is not known here.
    ///
    /// - Parameters:
    ///   - family: AF_INET or AF_INET6.
    ///   - addressSize: of its addresses.
    func hop(at hop: VirtualAddress, _ layout: NextHopLayout, family: UInt64, addressSize: Int) throws(MemoryFault) -> NextHop?
    {
        let reader = kernel.reader
        guard try reader.pointer(layout.tunnel, of: hop).isNull else { return nil }
        var result = NextHop(device: try reader.uint32(layout.device, of: hop))
        result.isOnLink = try reader.value(layout.flags, of: hop) & Self.isOnLink != 0
        switch try reader.value(layout.gatewayFamily, of: hop) {
        case 0: break
        case family: result.gateway = Array(try reader.bytes(layout.gateway, of: hop).prefix(addressSize))
        default: return nil
        }
        return result
    }

    /// Whether a route has values for MTU, window and the like.
    func hasMetrics(_ metrics: VirtualAddress, _ layout: NextHopLayout) throws(MemoryFault) -> Bool {
        try kernel.reader.bytes(layout.metricValues, of: metrics).contains { $0 != 0 }
    }
}
