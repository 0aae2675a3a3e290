import ProcessModel

extension PacketSocket {
    /// SOCK_PACKET, of which CRIU restores the device and the protocol only.
    private static let oldType: UInt32 = 10
    private static let types: Set<UInt32> = [2, 3, oldType]
    /// SOL_PACKET.
    private static let level: Int32 = 263
    /// The size of a virtio header that PACKET_VNET_HDR means.
    private static let usualHeader: UInt32 = 10

    /// The devices whose numbers the image has. CRIU takes the numbers as they are; loopback has the number 1 in every namespace.
    var numberedDevices: [Device] {
        var seen: Set<Device> = []
        return ([device].compactMap { $0 } + memberships.map(\.device)).filter { $0.number != 1 && seen.insert($0).inserted }
    }

    /// What CRIU does not set, beside what sockets of every family have.
    var lateOptions: [LateSocketOption] {
        func option(_ name: String, _ number: Int32, _ value: Int32) -> LateSocketOption {
            LateSocketOption(name: name, level: Self.level, number: number, value: .number(value))
        }
        var options: [LateSocketOption] = []
        if hasSendOffsets { options.append(option("PACKET_TX_HAS_OFF", 19, 1)) }
        if bypassesQueue == true { options.append(option("PACKET_QDISC_BYPASS", 20, 1)) }
        if ignoresOutgoing { options.append(option("PACKET_IGNORE_OUTGOING", 23, 1)) }
        if virtualHeaderBytes != 0, virtualHeaderBytes != Self.usualHeader {
            options.append(option("PACKET_VNET_HDR_SZ", 24, Int32(clamping: virtualHeaderBytes)))
        }
        return options
    }

    var assessment: FileAssessment {
        if let reason = refusal { return .refused("a packet socket " + reason) }
        var losses: [String] = []
        if queuedPackets > 0 { losses.append("\(queuedPackets) received packets are lost") }
        if let ring = receiveRing {
            if ring.waitingPackets > 0 { losses.append("\(ring.waitingPackets) packets in its ring are lost") }
            if ring.position > 0 {
                losses.append(
                    "its ring begins anew, so the program, which the kernel had left at \(ring.position), finds packets out of order"
                )
            }
        }
        if let fanout, fanout.members > 1 { losses.append("its fanout group may divide packets among its members otherwise") }
        if let device, device.number != 1 {
            losses.append("it is told that \(device.name.map(\.description) ?? "its device") is down if that comes up later")
        }
        if options.pendingError != 0 { losses.append("error \(options.pendingError) is no longer reported") }
        if options.locksFilter { losses.append("its filter is no longer locked") }
        return losses.isEmpty ? .full : .degraded("a packet socket: " + losses.joined(separator: ", "))
    }

    private var refusal: String? {
        if !Self.types.contains(type) { return "of type \(type)" }
        if options.hasUnsavedFilter { return "with a filter that is no classic BPF" }
        if let device = ([device].compactMap { $0 } + memberships.map(\.device)).first(where: { $0.name == nil }) {
            return "of network device \(device.number), which is gone"
        }
        let hasRing = receiveRing != nil || sendRing != nil
        if type == Self.oldType, hasRing || fanout != nil || !memberships.isEmpty || hasOwnOptions {
            return "of type SOCK_PACKET with options of the newer ones"
        }
        if let membership = memberships.first(where: { $0.type > 3 }) { return "with a membership of type \(membership.type)" }
        if let fanout {
            // PACKET_FANOUT_CBPF and PACKET_FANOUT_EBPF
            if fanout.type > 5 { return "in a fanout group that a program divides" }
            if let device, device.number != 1 {
                return
                    "in a fanout group of \(device.name.map(\.description) ?? "a device"), which cannot be joined while that is down"
            }
        }
        if let ring = sendRing, ring.position > 0 || ring.waitingPackets > 0 {
            return "with a ring of packets to be sent, which the kernel would take from its beginning"
        }
        if hasRing, hasSendOffsets || virtualHeaderBytes != 0 && virtualHeaderBytes != Self.usualHeader {
            return "with a ring and PACKET_TX_HAS_OFF or PACKET_VNET_HDR_SZ, which can only be set before it"
        }
        return nil
    }

    private var hasOwnOptions: Bool {
        version != 0 || reservedBytes != 0 || timestamp != 0 || copyThreshold != 0 || hasAuxiliaryData || tellsOriginalDevice
            || dropsMalformed || virtualHeaderBytes != 0
    }
}
