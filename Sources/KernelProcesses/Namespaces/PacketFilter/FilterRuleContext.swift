import ProcessModel

/// What matches and targets of iptables have to know of the rule that they are in, besides their own data: which protocol it is for. The kernel takes that from whoever makes the rule
/// (NFTA_RULE_COMPAT, net/netfilter/nft_compat.c) and does not keep it. iptables itself says it with expressions, before the first of them.
struct FilterRuleContext {
    let family: UInt8
    /// Registers that have a packet's protocol.
    private var registers: Set<[UInt8]> = []
    private var test: PacketFilter.ProtocolTest?
    /// Names of matches and targets, and the protocol that each is for; 0: any.
    private(set) var extensions: [(name: String, layer4: UInt64)] = []

    init(family: UInt8) { self.family = family }

    var isOfIPTables: Bool { !extensions.isEmpty }

    /// NFPROTO_IPV4, NFPROTO_IPV6
    static let internet: UInt8 = 2
    static let internet6: UInt8 = 10

    mutating func noteExtension(_ name: String, layer4: UInt64) { extensions.append((name, layer4)) }

    mutating func note(_ expression: PacketFilter.Expression) {
        guard let attributes = expression.attributes else { return }
        switch expression.name {
        case "meta":
            // NFT_META_L4PROTO
            setRegister(attributes.number(1), to: attributes.number(2) == [0, 0, 0, 16])
        case "payload":
            // One byte of the network header (NFT_PAYLOAD_NETWORK_HEADER): `protocol` of IPv4, `nexthdr` of IPv6.
            let place: UInt8? = [Self.internet: 9, Self.internet6: 6][family]
            let isProtocol =
                attributes.number(2) == [0, 0, 0, 1] && attributes.number(4) == [0, 0, 0, 1]
                && place.map { attributes.number(3) == [0, 0, 0, $0] } == true
            setRegister(attributes.number(1), to: isProtocol)
        case "cmp":
            // NFT_CMP_EQ, NFT_CMP_NEQ
            guard let register = attributes.number(1), registers.contains(register), test == nil,
                let operation = attributes.number(2)?.last, operation <= 1,
                case .nested(let data) = attributes.first(where: { $0.number == 3 })?.value, let value = data.number(1),
                value.count == 1
            else { return }
            test = PacketFilter.ProtocolTest(number: value[0], isInverted: operation == 1)
        default: break
        }
    }

    private mutating func setRegister(_ register: [UInt8]?, to isProtocol: Bool) {
        guard let register else { return }
        if isProtocol { registers.insert(register) } else { registers.remove(register) }
    }

    /// What the kernel wants to be told when the rule is made again.
    /// - Throws: `PacketFilterProblem` where that cannot be told.
    func layer4() throws -> PacketFilter.ProtocolTest? {
        guard isOfIPTables else { return nil }
        for (name, layer4) in extensions where layer4 != 0 {
            guard let test, !test.isInverted, UInt64(test.number) == layer4 else {
                throw PacketFilterProblem("\(name) in a rule that is not for its protocol")
            }
        }
        return test
    }
}

extension [PacketFilter.Attribute] {
    fileprivate func number(_ number: UInt16) -> [UInt8]? {
        guard case .bytes(let bytes) = first(where: { $0.number == number })?.value else { return nil }
        return bytes
    }
}
