import GuestMemory
import KernelObjects
import KernelTypes
import ProcessModel

/// `struct packet_sock`, `struct packet_mclist` and `struct packet_fanout` (net/packet/internal.h): types of the module af_packet, where that is one.
struct PacketSocketLayout: Sendable {
    let transport: Field
    let device: Field
    let version: Field
    let reserve: Field
    let timestamp: Field
    let copyThreshold: Field
    let auxiliaryData: Flag?
    let originalDevice: Flag?
    let loss: Flag?
    let sendOffsets: Flag?
    /// The header's size since Linux 6.6 (commit dfc39d4026fb), before that whether there is one.
    let virtualHeaderBytes: Field?
    let virtualHeader: Flag?
    let bypassesQueue: Flag?
    /// Before there was a flag (6.4), the function that sends, which is known by its name where af_packet is no module.
    let send: Field?
    let ignoresOutgoing: Field?
    let memberships: Field
    let membership: PacketMembershipLayout
    let fanout: Field
    let fanoutID: Field
    let fanoutType: Field
    let fanoutFlags: Field
    let fanoutMembers: Field
    let receiveRing: Field
    let sendRing: Field
    let ring: PacketRingLayout

    /// A bit field of its own, or, from 6.4 on and in later releases of older kernels, a bit of `flags` (`enum packet_sock_flags`, first of them in commit
    /// ee5675ecdf7a).
    struct Flag: Sendable {
        let field: Field
        let bit: UInt64?

        init?(_ packet: Structure, _ types: TypeTable, field: String, bit: String) {
            if let own = packet.optional(field) {
                self.field = own
                self.bit = nil
            } else if let flags = packet.optional("flags"), let number = types.enumerator(bit), 0..<64 ~= number {
                self.field = flags
                self.bit = UInt64(number)
            } else {
                return nil
            }
        }

        func isSet(_ sock: VirtualAddress, _ kernel: KernelReader) throws(MemoryFault) -> Bool {
            let value = try kernel.value(field, of: sock)
            return bit.map { value >> $0 & 1 == 1 } ?? (value != 0)
        }
    }

    init(_ types: TypeTable) throws(KernelError) {
        let packet = try types.structure("packet_sock")
        transport = try packet.field("num")
        device = try packet.field("ifindex")
        version = try packet.field("tp_version")
        reserve = try packet.field("tp_reserve")
        timestamp = try packet.field("tp_tstamp")
        copyThreshold = try packet.field("copy_thresh")
        auxiliaryData = Flag(packet, types, field: "auxdata", bit: "PACKET_SOCK_AUXDATA")
        originalDevice = Flag(packet, types, field: "origdev", bit: "PACKET_SOCK_ORIGDEV")
        loss = Flag(packet, types, field: "tp_loss", bit: "PACKET_SOCK_TP_LOSS")
        sendOffsets = Flag(packet, types, field: "tp_tx_has_off", bit: "PACKET_SOCK_TX_HAS_OFF")
        virtualHeaderBytes = packet.optional("vnet_hdr_sz")
        virtualHeader = Flag(packet, types, field: "has_vnet_hdr", bit: "PACKET_SOCK_HAS_VNET_HDR")
        guard virtualHeaderBytes != nil || virtualHeader != nil else {
            throw .noField(type: "packet_sock", field: "vnet_hdr_sz")
        }
        bypassesQueue = Flag(packet, types, field: "qdisc_bypass", bit: "PACKET_SOCK_QDISC_BYPASS")
        send = packet.optional("xmit")
        ignoresOutgoing = packet.optional("prot_hook.ignore_outgoing")
        memberships = try packet.field("mclist")
        membership = try PacketMembershipLayout(types)
        fanout = try packet.field("fanout")
        let group = try types.structure("packet_fanout")
        fanoutID = try group.field("id")
        fanoutType = try group.field("type")
        fanoutFlags = try group.field("flags")
        fanoutMembers = try group.field("num_members")
        receiveRing = try packet.field("rx_ring")
        sendRing = try packet.field("tx_ring")
        ring = try PacketRingLayout(types)
    }
}

/// `struct packet_mclist` (net/packet/internal.h).
struct PacketMembershipLayout: Sendable {
    let next: Field
    let device: Field
    let count: Field
    let type: Field
    let addressLength: Field
    let address: Field

    init(_ types: TypeTable) throws(KernelError) {
        let entry = try types.structure("packet_mclist")
        next = try entry.field("next")
        device = try entry.field("ifindex")
        count = try entry.field("count")
        type = try entry.field("type")
        addressLength = try entry.field("alen")
        address = try entry.field("addr")
    }
}

extension DeadKernel {
    /// nil when nobody has a packet socket, or the kernel does not tell of what they are made.
    var packetSockets: PacketSocketLayout? {
        if let known = knownPacketSockets { return known }
        var found = try? PacketSocketLayout(manifest.types)
        if found == nil, let types = try? moduleTypes("af_packet") { found = try? PacketSocketLayout(types) }
        knownPacketSockets = .some(found)
        return found
    }
}
