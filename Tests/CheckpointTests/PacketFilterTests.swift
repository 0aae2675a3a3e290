import NetlinkMessages
import ProcessModel
import Testing

@testable import Checkpoint

/// The messages that make a packet filter again.
@Suite struct PacketFilterTests {
    /// A message of nfnetlink, with its attributes as they lie there.
    struct Message {
        var request: NetfilterTables.Request
        var family: UInt8
        var attributes: [(type: UInt16, value: [UInt8])]

        func text(_ type: UInt16) -> String? {
            attributes.first { $0.type == type }.map { String(decoding: $0.value.dropLast(), as: UTF8.self) }
        }
    }

    static func word(_ bytes: ArraySlice<UInt8>) -> Int { bytes.prefix(4).reversed().reduce(0) { $0 << 8 | Int($1) } }

    static func attributes(_ bytes: ArraySlice<UInt8>) -> [(type: UInt16, value: [UInt8])] {
        var rest = bytes
        var found: [(UInt16, [UInt8])] = []
        while rest.count >= 4 {
            let head = word(rest)
            let (length, type) = (head & 0xffff, UInt16(head >> 16 & 0x7fff))
            guard length >= 4, length <= rest.count else { break }
            found.append((type, Array(rest.dropFirst(4).prefix(length - 4))))
            rest = rest.dropFirst((length + 3) & ~3)
        }
        return found
    }

    func messages(_ filter: PacketFilter) throws -> [Message] {
        var rest = PacketFilterDump(filter).bytes[...]
        var found: [Message] = []
        while !rest.isEmpty {
            let length = Self.word(rest)
            try #require(length >= 20 && length <= rest.count && length % 4 == 0)
            let type = UInt16(Self.word(rest.dropFirst(4)) & 0xffff)
            let request = try #require(NetfilterTables.Request.allCases.first { $0.type == type })
            let body = rest.dropFirst(16).prefix(length - 16)
            found.append(
                Message(request: request, family: body.first ?? 0, attributes: Self.attributes(body.dropFirst(4))))
            rest = rest.dropFirst(length)
        }
        return found
    }

    static func jump(to chain: KernelString) -> PacketFilter.Expression {
        // NFT_JUMP, into the verdict's register
        let verdict: [PacketFilter.Attribute] = [.init(1, value: Int32(-3)), .init(2, text: chain)]
        return PacketFilter.Expression(
            name: "immediate",
            attributes: [.init(1, value: UInt32(0)), .init(2, nested: [.init(2, nested: verdict)])])
    }

    @Test func whatIsReferredToComesFirst() throws {
        var table = PacketFilter.Table(family: 1, name: "guard")
        var input = PacketFilter.Chain(name: "input")
        input.base = PacketFilter.Base(hook: 1, priority: -5, type: "filter", policy: 0)
        var rule = PacketFilter.Rule()
        rule.expressions = [Self.jump(to: "__chain1")]
        rule.layer4 = PacketFilter.ProtocolTest(number: 6, isInverted: true)
        input.rules = [rule, PacketFilter.Rule()]
        var bound = PacketFilter.Chain(name: "__chain1")
        bound.isBound = true
        bound.rules = [PacketFilter.Rule()]
        table.chains = [input, bound]
        var set = PacketFilter.ElementSet(name: "ports", flags: 0, keyType: 13, keyLength: 2)
        var element = PacketFilter.Element()
        element.key = [0x1b, 0xbc]
        set.elements = Array(repeating: element, count: 5000)
        table.sets = [set]
        table.objects = [PacketFilter.StatefulObject(name: "seen", type: 1, attributes: [.init(1, value: UInt64(700))])]
        var filter = PacketFilter()
        filter.tables = [table]
        let messages = try messages(filter)
        #expect(messages.allSatisfy { $0.family == 1 && $0.text(1) == "guard" })
        let order = messages.map(\.request)
        #expect(order.prefix(5) == [.newTable, .newChain, .newChain, .newObject, .newSet])
        #expect(order.suffix(3) == [.newRule, .newRule, .newRule])
        let elements = messages.filter { $0.request == .newElements }
        #expect(elements.count > 1, "an attribute has at most 65535 bytes")
        let keys = elements.flatMap { $0.attributes.filter { $0.type == 3 } }.flatMap { Self.attributes($0.value[...]) }
        #expect(keys.count == 5000)
        let rules = messages.filter { $0.request == .newRule }
        #expect(
            rules.map { $0.text(2) } == ["__chain1", "input", "input"], "no rule can be added to a chain that has its rule")
        let compatibility = try #require(rules[1].attributes.first { $0.type == 5 }).value
        #expect(Self.attributes(compatibility[...]).map(\.value) == [[0, 0, 0, 6], [0, 0, 0, 2]])
        let hook = try #require(messages[1].attributes.first { $0.type == 4 }).value
        #expect(Self.attributes(hook[...]).map(\.value) == [[0, 0, 0, 1], [255, 255, 255, 251]])
    }

    @Test func chainsThatLeadToEachOtherHaveAnEnd() throws {
        var table = PacketFilter.Table(family: 2, name: "loop")
        for (name, other) in [("a", "b"), ("b", "a")] as [(KernelString, KernelString)] {
            var chain = PacketFilter.Chain(name: name)
            chain.isBound = true
            var rule = PacketFilter.Rule()
            rule.expressions = [Self.jump(to: other)]
            chain.rules = [rule]
            table.chains.append(chain)
        }
        var filter = PacketFilter()
        filter.tables = [table]
        #expect(try messages(filter).count == 5)
    }
}
