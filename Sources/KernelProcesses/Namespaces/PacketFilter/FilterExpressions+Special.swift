import GuestMemory
import KernelObjects
import KernelTypes
import ProcessModel

/// What of an expression its fields alone do not tell, as the dump functions of net/netfilter/nft_*.c have it.
extension PacketFilterReader {
    func attributes(
        _ special: FilterExpressionForm.Special, of data: VirtualAddress, _ form: FilterExpressionLayout,
        _ rule: inout FilterRuleContext
    ) throws -> [PacketFilter.Attribute] {
        switch special {
        case .immediate: return try immediate(data, form)
        case .compareFast: return try compareFast(data, form)
        case .compare16:
            let length = try reader.value(form.field("len"), of: data)
            return [
                .init(2, value: try isInverted(data, form)), value(try bytes(form.field("data"), of: data, count: length), 3),
            ]
        case .bitwise: return try bitwise(data, form)
        case .bitwiseFast:
            let mask = try reader.bytes(form.field("mask"), of: data)
            let flips = try reader.bytes(form.field("xor"), of: data)
            // NFT_BITWISE_MASK_XOR
            return [.init(3, value: UInt32(4)), .init(6, value: UInt32(0)), value(mask, 4), value(flips, 5)]
        case .lookup: return try lookup(data, form)
        case .objectReference: return try objectReference(data)
        case .objectMap: return [.init(4, text: try set(form.field("set"), of: data).name)]
        case .dynamicSet: return try dynamicSet(data, form)
        case .counter:
            return try counter(at: reader.pointer(form.field("counter"), of: data))
        case .limit(let inBytes): return try limit(data, form.structure, inBytes: inBytes)
        case .quota: return try quota(data, form.structure)
        case .last: return try last(data, form)
        case .connectionLimit: return [.init(2, value: try isInverted(data, form, named: "invert"))]
        case .connectionKey: return try connectionDirection(data, form)
        case .log: return try log(data, form)
        case .hash:
            // A seed that nobody has set is another one each time.
            if try reader.value(form.field("autogen_seed"), of: data) != 0 { return [] }
            return [.init(5, value: try reader.uint32(form.field("seed"), of: data))]
        case .socket:
            // NFT_SOCKET_CGROUPV2: by the cgroup's number, which it does not keep.
            guard try reader.value(form.field("key"), of: data) != 3 else {
                throw PacketFilterProblem("expression socket of cgroups")
            }
            return []
        case .match: return try extensionOfIPTables(data, form, isMatch: true, &rule)
        case .target: return try extensionOfIPTables(data, form, isMatch: false, &rule)
        }
    }

    /// A flag as a number: NFT_CMP_NEQ, NFT_LIMIT_F_INV and the like are 1.
    private func isInverted(_ data: VirtualAddress, _ form: FilterExpressionLayout, named name: String = "inv") throws -> UInt32
    {
        try reader.value(form.field(name), of: data) != 0 ? 1 : 0
    }

    private func immediate(_ data: VirtualAddress, _ form: FilterExpressionLayout) throws -> [PacketFilter.Attribute] {
        let place = try form.field("data")
        // NFT_REG_VERDICT
        if try reader.value(form.field("dreg"), of: data) == 0 { return [try verdict(at: data + place.offset, 2)] }
        return [value(try bytes(place, of: data, count: reader.value(form.field("dlen"), of: data)), 2)]
    }

    /// nft_cmp_fast_dump: the length is in bits, and what is compared are the lowest of a word.
    private func compareFast(_ data: VirtualAddress, _ form: FilterExpressionLayout) throws -> [PacketFilter.Attribute] {
        let bits = try reader.value(form.field("len"), of: data)
        let mask = try reader.uint32(form.field("mask"), of: data)
        let length = bits / 8
        guard (1...4).contains(length), bits % 8 == 0, UInt64(mask) == (1 << bits) - 1 else {
            throw MemoryFault(.damaged("comparison of \(bits) bits"), at: data)
        }
        return [
            .init(2, value: try isInverted(data, form)), value(try bytes(form.field("data"), of: data, count: length), 3),
        ]
    }

    private func bitwise(_ data: VirtualAddress, _ form: FilterExpressionLayout) throws -> [PacketFilter.Attribute] {
        let length = try reader.value(form.field("len"), of: data)
        switch try reader.value(form.field("op"), of: data) {
        // NFT_BITWISE_MASK_XOR
        case 0:
            return [
                value(try bytes(form.field("mask"), of: data, count: length), 4),
                value(try bytes(form.field("xor"), of: data, count: length), 5),
            ]
        // NFT_BITWISE_LSHIFT, NFT_BITWISE_RSHIFT: a number of bits
        case 1, 2: return [value(try bytes(form.field("data"), of: data, count: 4), 7)]
        // NFT_BITWISE_AND, NFT_BITWISE_OR, NFT_BITWISE_XOR with another register or a value, since 6.13
        case 3...5:
            let other = try reader.value(form.field("sreg2"), of: data)
            if other != 0 { return [try register(other, 8)] }
            return [value(try bytes(form.field("data"), of: data, count: length), 7)]
        case let operation: throw PacketFilterProblem("expression bitwise of kind \(operation)")
        }
    }

    /// A set of the same table.
    private func set(_ field: Field, of data: VirtualAddress) throws -> SetSummary {
        guard let set = sets[try reader.pointer(field, of: data)] else {
            throw MemoryFault(.damaged("rule with a set of another table"), at: data)
        }
        return set
    }

    private func lookup(_ data: VirtualAddress, _ form: FilterExpressionLayout) throws -> [PacketFilter.Attribute] {
        let set = try set(form.field("set"), of: data)
        var result: [PacketFilter.Attribute] = [.init(1, text: set.name)]
        // `dreg_set` since 6.3; before, a map always has one.
        let isTaken = try form.structure?.optional("dreg_set").map { try reader.value($0, of: data) != 0 } ?? set.isMap
        if isTaken { result.append(try register(reader.value(form.field("dreg"), of: data), 3)) }
        // NFT_LOOKUP_F_INV
        if try isInverted(data, form, named: "invert") != 0 { result.append(.init(5, value: UInt32(1))) }
        return result
    }

    private func objectReference(_ data: VirtualAddress) throws -> [PacketFilter.Attribute] {
        guard let object = objects[try reader.memory.pointer(at: data)] else {
            throw MemoryFault(.damaged("rule with an object of another table"), at: data)
        }
        return [.init(1, value: object.type), .init(2, text: object.name)]
    }

    private func dynamicSet(_ data: VirtualAddress, _ form: FilterExpressionLayout) throws -> [PacketFilter.Attribute] {
        let set = try set(form.field("set"), of: data)
        var result: [PacketFilter.Attribute] = [.init(1, text: set.name)]
        if set.isMap { result.append(try register(reader.value(form.field("sreg_data"), of: data), 5)) }
        let timeout = try reader.value(form.field("timeout"), of: data)
        if timeout != 0 { result.append(.init(6, value: milliseconds(timeout))) }
        let count = try reader.value(form.field("num_exprs"), of: data)
        // What a set gives its elements by itself is not told of each rule.
        let hasOwn = try form.structure?.optional("override_exprs").map { try reader.value($0, of: data) != 0 } ?? false
        if count > 0, set.expressionCount == 0 || hasOwn {
            let array = try form.field("expr_array")
            guard count <= UInt64(array.count) else {
                throw MemoryFault(.damaged("\(count) expressions for new elements"), at: data)
            }
            var own: [PacketFilter.Expression] = []
            for index in 0..<Int(count) { own.append(try expression(at: reader.pointer(array.element(index), of: data))) }
            result.append(own.count == 1 ? .init(7, nested: own[0].data) : .init(10, nested: own.map(\.element)))
        }
        // NFT_DYNSET_F_INV, NFT_DYNSET_F_EXPR
        let flags =
            try isInverted(data, form, named: "invert")
            | (form.structure?.optional("expr").map { try reader.value($0, of: data) != 0 ? 2 : 0 } ?? 0)
        if flags != 0 { result.append(.init(9, value: flags)) }
        return result
    }

    /// nft_ct_get_dump and nft_ct_set_dump: keys of one of the two directions of a connection.
    private func connectionDirection(_ data: VirtualAddress, _ form: FilterExpressionLayout) throws -> [PacketFilter.Attribute]
    {
        let key = try reader.value(form.field("key"), of: data)
        let direction = try reader.value(form.field("dir"), of: data)
        // NFT_CT_SRC, _DST, _PROTO_SRC, _PROTO_DST, _SRC_IP, _DST_IP, _SRC_IP6, _DST_IP6
        let ofOne: Set<UInt64> = [8, 9, 11, 12, 19, 20, 21, 22]
        // NFT_CT_PKTS, _BYTES, _AVGPKT, _ZONE; IP_CT_DIR_MAX stands for both
        let ofAny: Set<UInt64> = [14, 15, 16, 17]
        guard ofOne.contains(key) || ofAny.contains(key) && direction < 2 else { return [] }
        return [.init(3, value: UInt8(truncatingIfNeeded: direction))]
    }

    private func log(_ data: VirtualAddress, _ form: FilterExpressionLayout) throws -> [PacketFilter.Attribute] {
        func number(_ name: String) throws -> UInt64 { try reader.value(form.field("loginfo." + name), of: data) }
        var result: [PacketFilter.Attribute] = []
        let prefix = try reader.memory.string(at: reader.pointer(form.field("prefix"), of: data), limit: 128)
        if !prefix.isEmpty { result.append(.init(2, text: KernelString(prefix))) }
        switch try number("type") {
        // NF_LOG_TYPE_LOG
        case 0:
            result.append(.init(5, value: UInt32(truncatingIfNeeded: try number("u.log.level"))))
            let flags = UInt32(truncatingIfNeeded: try number("u.log.logflags"))
            if flags != 0 { result.append(.init(6, value: flags)) }
        // NF_LOG_TYPE_ULOG
        case 1:
            result.append(.init(1, value: UInt16(truncatingIfNeeded: try number("u.ulog.group"))))
            // NF_LOG_F_COPY_LEN
            if try number("u.ulog.flags") & 1 != 0 {
                result.append(.init(3, value: UInt32(truncatingIfNeeded: try number("u.ulog.copy_len"))))
            }
            let threshold = UInt16(truncatingIfNeeded: try number("u.ulog.qthreshold"))
            if threshold != 0 { result.append(.init(4, value: threshold)) }
        default: throw MemoryFault(.damaged("kind of a log"), at: data)
        }
        return result
    }

    private func last(_ data: VirtualAddress, _ form: FilterExpressionLayout) throws -> [PacketFilter.Attribute] {
        // Apart from the expression since 5.18.
        guard let pointer = form.structure?.optional("last") else { throw PacketFilterProblem("expression last") }
        let structure = try structure(anyOf: ["nft_last"], in: "nf_tables", for: "expression last")
        let last = try reader.pointer(pointer, of: data)
        let isSet = try reader.uint32(structure.field("set"), of: last)
        guard isSet != 0 else { return [.init(1, value: UInt32(0))] }
        let ago = now &- (try reader.value(structure.field("jiffies"), of: last))
        return [.init(1, value: UInt32(1)), .init(2, value: milliseconds(ago > UInt64(Int64.max) ? 0 : ago))]
    }
}

extension PacketFilter.Expression {
    /// NFTA_EXPR_NAME and NFTA_EXPR_DATA.
    fileprivate var data: [PacketFilter.Attribute] {
        [.init(1, text: name)] + (attributes.map { [.init(2, nested: $0)] } ?? [])
    }

    /// NFTA_LIST_ELEM
    fileprivate var element: PacketFilter.Attribute { .init(1, nested: data) }
}
