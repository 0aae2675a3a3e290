import GuestMemory
import KernelObjects
import ProcessModel

extension FileReader {
    /// nil where this kernel does not tell what they are made of.
    func packetSocket(at sock: VirtualAddress, socket: VirtualAddress) throws(MemoryFault) -> PacketSocket? {
        guard let fields = packets else { return nil }
        var packet = PacketSocket(
            type: try kernel.uint32(layout.sockets.type, of: socket) & 0xffff, inode: try inodeNumber(ofSocket: socket))
        packet.transport = UInt16(truncatingIfNeeded: try kernel.value(fields.transport, of: sock))
        let number = try kernel.int32(fields.device, of: sock)
        if number != 0 { packet.device = device(number, ofSocket: sock) }
        packet.version = try kernel.uint32(fields.version, of: sock)
        packet.reservedBytes = try kernel.uint32(fields.reserve, of: sock)
        packet.timestamp = try kernel.uint32(fields.timestamp, of: sock)
        packet.copyThreshold = try kernel.uint32(fields.copyThreshold, of: sock)
        packet.hasAuxiliaryData = try fields.auxiliaryData?.isSet(sock, kernel) ?? false
        packet.tellsOriginalDevice = try fields.originalDevice?.isSet(sock, kernel) ?? false
        packet.dropsMalformed = try fields.loss?.isSet(sock, kernel) ?? false
        packet.hasSendOffsets = try fields.sendOffsets?.isSet(sock, kernel) ?? false
        if let size = fields.virtualHeaderBytes {
            packet.virtualHeaderBytes = try kernel.uint32(size, of: sock)
        } else {
            // sizeof(struct virtio_net_hdr)
            packet.virtualHeaderBytes = try fields.virtualHeader?.isSet(sock, kernel) ?? false ? 10 : 0
        }
        if let flag = fields.bypassesQueue {
            packet.bypassesQueue = try flag.isSet(sock, kernel)
        } else if let send = fields.send, let direct = kernel.symbols.addresses["packet_direct_xmit"] {
            packet.bypassesQueue = try kernel.pointer(send, of: sock) == direct
        }
        if let field = fields.ignoresOutgoing { packet.ignoresOutgoing = try kernel.value(field, of: sock) != 0 }
        packet.memberships = try kernel.packetMemberships(
            from: kernel.pointer(fields.memberships, of: sock), layout: fields.membership
        ) { device($0, ofSocket: sock) }
        let group = try kernel.pointer(fields.fanout, of: sock)
        if !group.isNull {
            packet.fanout = PacketSocket.Fanout(
                id: UInt16(truncatingIfNeeded: try kernel.value(fields.fanoutID, of: group)),
                type: UInt8(truncatingIfNeeded: try kernel.value(fields.fanoutType, of: group)),
                flags: UInt8(truncatingIfNeeded: try kernel.value(fields.fanoutFlags, of: group)),
                members: try kernel.uint32(fields.fanoutMembers, of: group))
        }
        packet.receiveRing = try kernel.packetRing(
            at: sock + fields.receiveRing.offset, version: packet.version, isForSending: false, layout: fields.ring)
        packet.sendRing = try kernel.packetRing(
            at: sock + fields.sendRing.offset, version: packet.version, isForSending: true, layout: fields.ring)
        packet.queuedPackets = try kernel.uint32(layout.sockets.receiveQueueLength, of: sock)
        packet.options = try options(of: sock, socket: socket)
        return packet
    }

    private func device(_ number: Int32, ofSocket sock: VirtualAddress) -> PacketSocket.Device {
        let name = number > 0 ? try? deviceName(UInt32(number), ofSocket: sock) : nil
        return PacketSocket.Device(number: number, name: name.map { KernelString(bytes: $0) })
    }
}

extension KernelReader {
    /// More than anybody asks for (net.core.optmem_max bounds them), each counted as often as it was asked for: so often it stands in the image.
    private static let membershipLimit: UInt32 = 4096

    /// A chain that ends with a null pointer.
    func packetMemberships(
        from first: VirtualAddress, layout: PacketMembershipLayout, device: (Int32) -> PacketSocket.Device
    ) throws(MemoryFault) -> [PacketSocket.Membership] {
        var found: [PacketSocket.Membership] = []
        var entry = first
        var total: UInt32 = 0
        while !entry.isNull {
            let length = Int(try value(layout.addressLength, of: entry))
            let count = try uint32(layout.count, of: entry)
            guard length <= layout.address.size, count >= 1, count <= Self.membershipLimit - total else {
                throw MemoryFault(
                    .damaged("membership \(count) times, with an address of \(length) bytes, after \(total) others"), at: entry)
            }
            total += count
            found.append(
                PacketSocket.Membership(
                    device: device(try int32(layout.device, of: entry)), type: try uint32(layout.type, of: entry),
                    address: Array(try bytes(layout.address, of: entry).prefix(length)), count: count))
            entry = try pointer(layout.next, of: entry)
        }
        return found
    }
}
