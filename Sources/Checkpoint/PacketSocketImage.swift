import ProcessModel

extension SocketImage {
    /// `packet_sock_entry` of images/packet-sock.proto.
    static func packet(id: UInt32, socket: PacketSocket, file: OpenFile, network: UInt32? = nil) -> ProtobufMessage {
        FileImage.entry(
            .packetSocket, id: id, field: 6,
            ProtobufMessage { entry in
                entry.unsigned(1, id)
                entry.unsigned(2, socket.type)
                entry.unsigned(3, UInt32(socket.transport))
                entry.unsigned(4, FileImage.reopenFlags(file.flags))
                entry.unsigned(5, UInt32(bitPattern: socket.device?.number ?? 0))
                entry.message(6, FileImage.fileOwner(file.owner))
                entry.message(7, options(socket.options))
                entry.unsigned(8, socket.version)
                entry.unsigned(9, socket.reservedBytes)
                entry.flag(10, socket.hasAuxiliaryData)
                entry.flag(11, socket.tellsOriginalDevice)
                entry.flag(12, socket.virtualHeaderBytes != 0)
                entry.flag(13, socket.dropsMalformed)
                entry.unsigned(14, socket.timestamp)
                entry.unsigned(15, socket.copyThreshold)
                for membership in socket.memberships {
                    let message = message(membership)
                    // CRIU's own images have one only once; asked for again it is counted again.
                    for _ in 0..<membership.count { entry.message(16, message) }
                }
                if let fanout = socket.fanout { entry.unsigned(17, fanout.imageValue) }
                if let ring = socket.receiveRing { entry.message(18, message(ring)) }
                if let ring = socket.sendRing { entry.message(19, message(ring)) }
                if let network { entry.unsigned(20, network) }
            })
    }

    /// `packet_mclist`.
    private static func message(_ membership: PacketSocket.Membership) -> ProtobufMessage {
        ProtobufMessage { entry in
            entry.unsigned(1, UInt32(bitPattern: membership.device.number))
            entry.unsigned(2, membership.type)
            entry.data(3, membership.hasAddress ? membership.address : [])
        }
    }

    /// `packet_ring`.
    private static func message(_ ring: PacketSocket.Ring) -> ProtobufMessage {
        ProtobufMessage { entry in
            let values = [
                ring.blockBytes, ring.blockCount, ring.frameBytes, ring.frameCount, ring.retireMilliseconds,
                ring.privateBytes, ring.features,
            ]
            for (index, value) in values.enumerated() { entry.unsigned(UInt32(index + 1), value) }
        }
    }
}

extension PacketSocket.Fanout {
    /// As setsockopt(2) and PACKET_DIAG_FANOUT have it.
    var imageValue: UInt32 { UInt32(id) | UInt32(type) << 16 | UInt32(flags) << 24 }
}

extension PacketSocket.Membership {
    /// PACKET_MR_MULTICAST and PACKET_MR_UNICAST.
    var hasAddress: Bool { type == 0 || type == 3 }
}
