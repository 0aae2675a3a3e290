import GuestMemory
import KernelObjects
import KernelTypes
import ProcessModel

/// What counts or limits, as an expression of a rule or as an object with a name.
extension PacketFilterReader {
    /// `struct nft_counter` of each CPU.
    func counter(at parts: VirtualAddress) throws -> [PacketFilter.Attribute] {
        let structure = try structure(anyOf: ["nft_counter"], in: "nft_counter", for: "expression counter")
        return [
            .init(1, value: try sum(structure.field("bytes"), of: parts)),
            .init(2, value: try sum(structure.field("packets"), of: parts)),
        ]
    }

    /// `struct nft_limit_priv` (nft_limit_dump), which had another name until 5.18. What may pass at once may do so again.
    func limit(_ data: VirtualAddress, _ structure: Structure?, inBytes: Bool) throws -> [PacketFilter.Attribute] {
        guard let structure else { throw PacketFilterProblem("expression limit") }
        let isInverted = try reader.value(structure.field("invert"), of: data) != 0
        return [
            .init(1, value: try reader.value(structure.field("rate"), of: data)),
            .init(2, value: try reader.value(structure.field("nsecs"), of: data) / 1_000_000_000),
            .init(3, value: try reader.uint32(structure.field("burst"), of: data)),
            .init(4, value: UInt32(inBytes ? 1 : 0)), .init(5, value: UInt32(isInverted ? 1 : 0)),
        ]
    }

    /// `struct nft_quota` (nft_quota_do_dump): what was used of it counts on.
    func quota(_ data: VirtualAddress, _ structure: Structure?) throws -> [PacketFilter.Attribute] {
        guard let structure else { throw PacketFilterProblem("expression quota") }
        let quota = try reader.value(structure.field("quota"), of: data)
        // Apart from the rest since 5.18.
        let isInside = structure.optional("consumed.counter") != nil
        let field = try structure.field("consumed")
        let consumed =
            try isInside ? reader.value(field, of: data) : reader.memory.unsigned(at: reader.pointer(field, of: data), size: 8)
        // NFT_QUOTA_F_INV: the other one says that it is used up, which shows again with the next packet.
        let flags = UInt32(truncatingIfNeeded: try reader.value(structure.field("flags"), of: data)) & 1
        return [.init(1, value: quota), .init(2, value: flags), .init(4, value: min(quota, consumed))]
    }

    /// `struct nft_object` with what its kind keeps.
    func object(at address: VirtualAddress) throws -> PacketFilter.StatefulObject {
        let fields = layout.object
        let name = try name(at: fields.name, of: address)
        let operations = try reader.pointer(fields.operations, of: address)
        let type = try reader.uint32(fields.number, of: reader.pointer(fields.type, of: operations))
        let data = address + fields.data
        let attributes: [PacketFilter.Attribute]
        // NFT_OBJECT_*
        switch type {
        case 1:
            let structure = try structure(anyOf: ["nft_counter_percpu_priv"], in: "nft_counter", for: "counter \(name)")
            attributes = try counter(at: reader.pointer(structure.field("counter"), of: data))
        case 2: attributes = try quota(data, structure(anyOf: ["nft_quota"], in: "nft_quota", for: "quota \(name)"))
        case 3: attributes = try helper(data, name)
        case 4:
            guard let variable = symbols.names[operations],
                let inBytes = ["nft_limit_obj_pkts_ops": false, "nft_limit_obj_bytes_ops": true][variable]
            else { throw PacketFilterProblem("limit \(name)") }
            attributes = try limit(
                data, structure(anyOf: ["nft_limit_priv", "nft_limit"], in: "nft_limit", for: "limit \(name)"), inBytes: inBytes
            )
        case 9: attributes = try expectation(data, name)
        default: throw PacketFilterProblem("stateful object \(name) of type \(type)")
        }
        var object = PacketFilter.StatefulObject(name: name, type: type, attributes: attributes)
        object.userData = try userData(fields.userData, of: address)
        return object
    }

    /// `struct nft_ct_helper_obj` (nft_ct_helper_obj_dump)
    private func helper(_ data: VirtualAddress, _ name: KernelString) throws -> [PacketFilter.Attribute] {
        let structure = try structure(anyOf: ["nft_ct_helper_obj"], in: "nft_ct", for: "ct helper \(name)")
        let helper = try self.structure(anyOf: ["nf_conntrack_helper"], in: "nf_conntrack", for: "ct helper \(name)")
        let first = try reader.pointer(structure.field("helper4"), of: data)
        let second = try reader.pointer(structure.field("helper6"), of: data)
        guard !first.isNull || !second.isNull else { throw MemoryFault(.damaged("ct helper without a helper"), at: data) }
        // NFPROTO_INET, NFPROTO_IPV4, NFPROTO_IPV6
        let family: UInt16 = first.isNull ? 10 : second.isNull ? 2 : 1
        let kind = try reader.text(helper.field("name"), of: first.isNull ? second : first)
        return [
            .init(1, text: KernelString(bytes: kind)), .init(2, value: family),
            .init(3, value: UInt8(truncatingIfNeeded: try reader.value(structure.field("l4proto"), of: data))),
        ]
    }

    /// `struct nft_ct_expect_obj` (nft_ct_expect_obj_dump)
    private func expectation(_ data: VirtualAddress, _ name: KernelString) throws -> [PacketFilter.Attribute] {
        let structure = try structure(anyOf: ["nft_ct_expect_obj"], in: "nft_ct", for: "ct expectation \(name)")
        return [
            .init(1, value: UInt16(truncatingIfNeeded: try reader.value(structure.field("l3num"), of: data))),
            .init(2, value: UInt8(truncatingIfNeeded: try reader.value(structure.field("l4proto"), of: data))),
            // Already in network order, and the time as this machine has numbers.
            .init(3, try reader.bytes(structure.field("dport"), of: data)),
            .init(4, try reader.bytes(structure.field("timeout"), of: data)),
            .init(5, value: UInt8(truncatingIfNeeded: try reader.value(structure.field("size"), of: data))),
        ]
    }
}
