import GuestMemory
import KernelObjects
import KernelTypes
import ProcessModel

/// `struct netlink_sock` (net/netlink/af_netlink.h).
struct NetlinkSocketLayout: Sendable {
    let flags: Field
    /// NETLINK_F_KERNEL_SOCKET, the one flag that no program sets.
    let kernelFlag: UInt64
    let port: Field
    let destinationPort: Field
    let destinationGroup: Field
    let groupCount: Field
    let groups: Field
    let isAnswering: Field

    init(_ types: TypeTable) throws(KernelError) {
        let netlink = try types.structure("netlink_sock")
        flags = try netlink.field("flags")
        // A mask up to Linux 6.5, a bit's number since (commit 8fe08d70a2b6); bit 0 either way.
        kernelFlag = 1
        port = try netlink.field("portid")
        destinationPort = try netlink.field("dst_portid")
        destinationGroup = try netlink.field("dst_group")
        groupCount = try netlink.field("ngroups")
        groups = try netlink.field("groups")
        isAnswering = try netlink.field("cb_running")
    }
}

extension FileReader {
    /// The most groups believed of a socket; generic netlink families add some.
    private static let groupLimit: UInt32 = 1 << 16

    func netlinkSocket(at sock: VirtualAddress, socket: VirtualAddress) throws(MemoryFault) -> NetlinkSocket? {
        guard let fields = layout.sockets.netlink else { return nil }
        var netlink = NetlinkSocket(
            transport: try kernel.uint32(layout.sockets.protocolNumber, of: sock) & 0xffff,
            inode: try inodeNumber(ofSocket: socket))
        netlink.port = try kernel.uint32(fields.port, of: sock)
        netlink.destinationPort = try kernel.uint32(fields.destinationPort, of: sock)
        netlink.destinationGroup = try kernel.uint32(fields.destinationGroup, of: sock)
        // NETLINK_CONNECTED
        netlink.isConnected = try kernel.value(layout.sockets.state, of: sock) == 1
        netlink.isAnswering = try kernel.value(fields.isAnswering, of: sock) != 0
        netlink.hasOwnOptions = try kernel.value(fields.flags, of: sock) & ~fields.kernelFlag != 0
        netlink.queuedMessages = try kernel.uint32(layout.sockets.receiveQueueLength, of: sock)
        netlink.options = try options(of: sock, socket: socket)
        let groups = try kernel.pointer(fields.groups, of: sock)
        let count = try kernel.uint32(fields.groupCount, of: sock)
        guard !groups.isNull, count > 0 else { return netlink }
        guard count <= Self.groupLimit else { throw MemoryFault(.damaged("netlink socket with \(count) groups"), at: sock) }
        // An array of longs.
        let bytes = try kernel.memory.bytes(at: groups, count: Int(count + 63) / 64 * 8)
        netlink.groups = stride(from: 0, to: bytes.count, by: 4).map { at in
            bytes[at..<at + 4].reversed().reduce(0) { $0 << 8 | UInt32($1) }
        }
        while netlink.groups.last == 0 { netlink.groups.removeLast() }
        return netlink
    }
}
