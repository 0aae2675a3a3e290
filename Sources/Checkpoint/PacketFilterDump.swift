import NetlinkMessages
import ProcessModel

/// The messages that make a packet filter again, one behind the other. The agent sends them as one batch.
///
/// What something refers to comes before it: chains before the verdicts that lead to them, sets with all their elements before rules, and the rules of a chain that belongs to another rule
/// (NFT_CHAIN_BINDING) before that rule, for afterwards none can be added.
struct PacketFilterDump {
    private(set) var bytes: [UInt8] = []
    private var nextSet: UInt32 = 1
    /// Bytes of elements in one message: the length of an attribute has 16 bits.
    private static let elementBytes = 32 << 10

    /// No image of CRIU, and so not called one.
    static func name(_ id: UInt32) -> String { "packet-filter-\(id)" }

    init(_ filter: PacketFilter) {
        for table in filter.tables {
            append(.newTable, table) {
                $0.append(1, table.name)
                if table.flags != 0 { $0.append(2, number: table.flags) }
                if !table.userData.isEmpty { $0.append(6, table.userData) }
            }
            for chain in table.chains { append(chain, of: table) }
            for object in table.objects { append(object, of: table) }
            for set in table.sets { append(set, of: table) }
            appendRules(of: table)
        }
    }

    private mutating func append(
        _ request: NetfilterTables.Request, _ table: PacketFilter.Table, _ build: (inout NetlinkAttributes) -> Void
    ) {
        let header = NetfilterTables.header(family: table.family)
        bytes += NetlinkMessage(type: request.type, flags: request.flags, sequence: 0, header: header, build).bytes
    }

    /// NFTA_CHAIN_*
    private mutating func append(_ chain: PacketFilter.Chain, of table: PacketFilter.Table) {
        append(.newChain, table) { message in
            message.append(1, table.name)
            message.append(3, chain.name)
            if let base = chain.base {
                message.append(4) { hook in
                    hook.append(1, number: base.hook)
                    hook.append(2, number: UInt32(bitPattern: base.priority))
                    if !base.devices.isEmpty {
                        hook.append(4) { list in for device in base.devices { list.append(1, device) } }
                    }
                }
                message.append(5, number: base.policy)
                message.append(7, base.type)
                if let counters = base.counters {
                    message.append(8) {
                        $0.append(1, NetlinkMessage.native(counters.bytes.byteSwapped))
                        $0.append(2, NetlinkMessage.native(counters.packets.byteSwapped))
                    }
                }
            }
            // NFT_CHAIN_BINDING
            if chain.isBound { message.append(10, number: 4) }
            if !chain.userData.isEmpty { message.append(12, chain.userData) }
        }
    }

    /// NFTA_OBJ_*
    private mutating func append(_ object: PacketFilter.StatefulObject, of table: PacketFilter.Table) {
        append(.newObject, table) { message in
            message.append(1, table.name)
            message.append(2, object.name)
            message.append(3, number: object.type)
            message.append(4) { $0.append(object.attributes) }
            if !object.userData.isEmpty { message.append(8, object.userData) }
        }
    }

    /// NFTA_SET_*
    private mutating func append(_ set: PacketFilter.ElementSet, of table: PacketFilter.Table) {
        let number = nextSet
        nextSet += 1
        append(.newSet, table) { message in
            message.append(1, table.name)
            message.append(2, set.name)
            if set.flags != 0 { message.append(3, number: set.flags) }
            message.append(4, number: set.keyType)
            message.append(5, number: set.keyLength)
            // NFT_SET_MAP, NFT_SET_OBJECT
            if set.flags & 8 != 0 {
                message.append(6, number: set.dataType)
                message.append(7, number: set.dataLength)
            }
            if set.flags & 0x40 != 0 { message.append(15, number: set.objectType) }
            if set.policy != 0 { message.append(8, number: set.policy) }
            if set.size != 0 || !set.fieldLengths.isEmpty {
                message.append(9) { description in
                    if set.size != 0 { description.append(1, number: set.size) }
                    if !set.fieldLengths.isEmpty {
                        description.append(2) { list in
                            for length in set.fieldLengths { list.append(1) { $0.append(1, number: UInt32(length)) } }
                        }
                    }
                }
            }
            message.append(10, number: number)
            if set.timeoutMilliseconds != 0 {
                message.append(11, NetlinkMessage.native(set.timeoutMilliseconds.byteSwapped))
            }
            if set.collectionMilliseconds != 0 { message.append(12, number: set.collectionMilliseconds) }
            if !set.userData.isEmpty { message.append(13, set.userData) }
            message.append(set.expressions, one: 17, several: 18)
        }
        var list = NetlinkAttributes()
        for element in set.elements {
            list.append(1) { $0.append(element) }
            if list.bytes.count >= Self.elementBytes { send(&list, to: set, of: table) }
        }
        if !list.bytes.isEmpty { send(&list, to: set, of: table) }
    }

    /// NFTA_SET_ELEM_LIST_*
    private mutating func send(_ list: inout NetlinkAttributes, to set: PacketFilter.ElementSet, of table: PacketFilter.Table) {
        let elements = list.bytes
        append(.newElements, table) { message in
            message.append(1, table.name)
            message.append(2, set.name)
            // NLA_F_NESTED
            message.append(3 | 0x8000, elements)
        }
        list = NetlinkAttributes()
    }

    /// Those of a chain that a rule has for itself come before that rule. A chain that leads back to itself is none that the kernel would have.
    private mutating func appendRules(of table: PacketFilter.Table) {
        let bound = Dictionary(
            table.chains.enumerated().filter { $0.element.isBound }.map { ($0.element.name, $0.offset) },
            uniquingKeysWith: { first, _ in first })
        var begun: Set<Int> = []
        var done: Set<Int> = []
        var waiting = Array(table.chains.indices.reversed())
        while let index = waiting.last {
            if begun.insert(index).inserted {
                waiting += table.chains[index].rules.flatMap(\.chains).compactMap { bound[$0] }.filter { !begun.contains($0) }
                continue
            }
            waiting.removeLast()
            guard done.insert(index).inserted else { continue }
            let chain = table.chains[index]
            for rule in chain.rules { append(rule, of: chain, table) }
        }
    }

    /// NFTA_RULE_*
    private mutating func append(_ rule: PacketFilter.Rule, of chain: PacketFilter.Chain, _ table: PacketFilter.Table) {
        append(.newRule, table) { message in
            message.append(1, table.name)
            message.append(2, chain.name)
            message.append(4) { $0.append(rule.expressions) }
            if let test = rule.layer4 {
                message.append(5) {
                    $0.append(1, number: UInt32(test.number))
                    // NFT_RULE_COMPAT_F_INV
                    $0.append(2, number: test.isInverted ? 2 : 0)
                }
            }
            if !rule.userData.isEmpty { message.append(7, rule.userData) }
        }
    }
}

extension PacketFilter.Rule {
    /// Chains that it leads to itself: `immediate` with a verdict that has a name.
    fileprivate var chains: [KernelString] {
        expressions.filter { $0.name == "immediate" }.flatMap { $0.attributes ?? [] }.compactMap { attribute in
            guard case .nested(let data) = attribute.value, attribute.number == 2,
                case .nested(let verdict) = data.first(where: { $0.number == 2 })?.value,
                case .bytes(let name) = verdict.first(where: { $0.number == 2 })?.value
            else { return nil }
            return KernelString(bytes: Array(name.dropLast()))
        }
    }
}

extension NetlinkAttributes {
    /// A string with its zero byte.
    fileprivate mutating func append(_ type: UInt16, _ text: KernelString) { append(type, text.bytes + [0]) }

    fileprivate mutating func append(_ attributes: [PacketFilter.Attribute]) {
        for attribute in attributes {
            switch attribute.value {
            case .bytes(let bytes): append(attribute.number, bytes)
            case .nested(let inner): append(attribute.number) { $0.append(inner) }
            }
        }
    }

    /// NFTA_EXPR_NAME and NFTA_EXPR_DATA.
    private mutating func appendParts(of expression: PacketFilter.Expression) {
        append(1, expression.name)
        if let attributes = expression.attributes { append(2) { $0.append(attributes) } }
    }

    /// Each as an NFTA_LIST_ELEM.
    fileprivate mutating func append(_ expressions: [PacketFilter.Expression]) {
        for expression in expressions { append(1) { $0.appendParts(of: expression) } }
    }

    /// As a set or an element has them: one, or a list of several.
    fileprivate mutating func append(_ expressions: [PacketFilter.Expression], one: UInt16, several: UInt16) {
        if expressions.count == 1 {
            append(one) { $0.appendParts(of: expressions[0]) }
        } else if !expressions.isEmpty {
            append(several) { $0.append(expressions) }
        }
    }

    /// NFTA_SET_ELEM_*
    fileprivate mutating func append(_ element: PacketFilter.Element) {
        if let key = element.key { append(1) { $0.append(1, key) } }
        if let end = element.keyEnd { append(10) { $0.append(1, end) } }
        if let data = element.data { append([data]) }
        if element.flags != 0 { append(3, number: element.flags) }
        if let time = element.timeoutMilliseconds { append(4, NetlinkMessage.native(time.byteSwapped)) }
        if let time = element.expirationMilliseconds { append(5, NetlinkMessage.native(time.byteSwapped)) }
        if !element.userData.isEmpty { append(6, element.userData) }
        append(element.expressions, one: 7, several: 11)
        if let object = element.object { append(9, object) }
    }
}
