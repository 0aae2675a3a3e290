import ProcessModel

extension NetworkDevice.Details {
    /// Whether CRIU makes it as it was.
    ///
    /// - Parameter lower: what a macvlan lies on.
    func isUnderstood(lower: NetworkPeer?) -> Bool {
        switch self {
        case .tunnel(let tunnel): !tunnel.hasFilter
        case .sit(let tunnel): !tunnel.isSpecial
        case .macvlan(let macvlan):
            !macvlan.hasSources && lower.map { $0.isInGuest && NetworkAssessment.isPlain($0.device.name) } ?? false
        }
    }

    /// `nd_type` of images/netdev.proto.
    var imageType: UInt32 {
        switch self {
        case .tunnel: 3
        case .macvlan: 7
        case .sit: 8
        }
    }

    /// `tun_link_entry`, `macvlan_link_entry` or `sit_entry`, as a member of `net_device_entry`.
    func append(to entry: inout ProtobufMessage) {
        switch self {
        case .tunnel(let tunnel):
            entry.message(6) { image in
                image.unsigned(1, tunnel.flags)
                image.unsigned(2, UInt64(bitPattern: Int64(tunnel.owner)))
                image.unsigned(3, UInt64(bitPattern: Int64(tunnel.group)))
                image.unsigned(4, tunnel.headerBytes)
                image.unsigned(5, tunnel.sendBufferBytes)
            }
        case .macvlan(let macvlan):
            entry.message(11) { image in
                image.unsigned(1, macvlan.mode)
                if macvlan.flags != 0 { image.unsigned(2, UInt32(macvlan.flags)) }
            }
        case .sit(let tunnel):
            entry.message(15) { image in
                if tunnel.link != 0 { image.unsigned(1, tunnel.link) }
                // Four bytes in the order of the network, which CRIU takes for a number.
                for (field, address) in [(UInt32(2), tunnel.local), (3, tunnel.remote)]
                where address.contains(where: { $0 != 0 }) {
                    image.unsigned(field, address.reversed().reduce(UInt32(0)) { $0 << 8 | UInt32($1) })
                }
                image.unsigned(4, UInt32(tunnel.timeToLive))
                image.unsigned(5, UInt32(tunnel.typeOfService))
                image.flag(6, true)
                image.unsigned(7, UInt32(tunnel.transport))
            }
        }
    }
}
