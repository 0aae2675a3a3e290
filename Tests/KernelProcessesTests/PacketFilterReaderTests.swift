import GuestMemory
import KernelTypes
import ProcessModel
import SyntheticMemory
import Testing

@testable import KernelObjects
@testable import KernelProcesses

/// Rules of nf_tables in a dead kernel that may lie: a table with one base chain, whose one rule accepts.
@Suite struct PacketFilterReaderTests {
    let kernel: SyntheticKernel
    let types: TypeTable
    let layout: PacketFilterLayout
    let namespace, table, chain, rule, expression, operations, expressionType: VirtualAddress
    let verdict: Int

    init() throws {
        kernel = try SyntheticKernel()
        (types, layout) = try Self.known.get()
        namespace = kernel.object()
        table = kernel.object()
        rule = kernel.object()
        operations = kernel.object()
        expressionType = kernel.object()
        let base = kernel.object()
        chain = base + layout.chain.inBase.offset
        expression = rule + layout.rule.data
        let immediate = try types.structure("nft_immediate_expr")
        verdict = try immediate.field("data").offset
        list(namespace + (layout.tablesOfNamespace?.offset ?? 0), [table + layout.table.link.offset])
        kernel.set(layout.table.family, of: table, to: 2)
        kernel.set(layout.table.name, of: table, to: text("filter"))
        list(table + layout.table.chains.offset, [chain + layout.chain.link.offset])
        for field in [layout.table.sets, layout.table.objects, layout.table.flowtables] { list(table + field.offset, []) }
        kernel.set(layout.chain.table, of: chain, to: table.rawValue)
        kernel.set(layout.chain.name, of: chain, to: text("input"))
        kernel.set(layout.chain.flags, of: chain, to: 1)
        kernel.set(layout.chain.hook, of: base, to: 1)
        kernel.set(layout.chain.policy, of: base, to: 1)
        let chainType = kernel.object()
        kernel.set(layout.chain.typeName, of: chainType, to: text("filter"))
        kernel.set(layout.chain.type, of: base, to: chainType.rawValue)
        list(base + layout.chain.hooks.offset, [])
        list(chain + layout.chain.rules.offset, [rule + layout.rule.link.offset])
        let size = layout.expression.data + immediate.size
        kernel.set(layout.rule.length, of: rule, to: UInt64(size))
        kernel.set(layout.expression.operations, of: expression, to: operations.rawValue)
        kernel.set(layout.expression.size, of: operations, to: UInt64(size))
        kernel.set(layout.expression.type, of: operations, to: expressionType.rawValue)
        kernel.set(layout.expression.typeName, of: expressionType, to: text("immediate"))
        // NF_ACCEPT
        setVerdict(1)
    }

    /// What the walk asks for, as far as these rules need it.
    private static let known: Result<(TypeTable, PacketFilterLayout), any Error> = Result {
        var structures = SyntheticStructures()
        structures.add("net", "nft.tables")
        for path in ["data.code", "data.chain", "dreg", "dlen"] { structures.add("nft_immediate_expr", path) }
        // What is larger than a field is last.
        for path in ["ops.hooknum", "ops.priority", "policy", "type", "hook_list", "stats", "chain"] {
            structures.add("nft_base_chain", path)
        }
        while true {
            let types = try TypeTable(btf: structures.types)
            do throws(KernelError) {
                return (types, try PacketFilterLayout(types))
            } catch {
                switch error {
                case .noType(let name): structures.add(name)
                case .noField(let type, let field): structures.add(type, field)
                default: throw error
                }
            }
        }
    }

    func list(_ head: VirtualAddress, _ links: [VirtualAddress]) {
        let nodes = [head] + links
        for (index, node) in nodes.enumerated() {
            let (next, previous) = (nodes[(index + 1) % nodes.count], nodes[(index + nodes.count - 1) % nodes.count])
            kernel.memory.place([next.rawValue, previous.rawValue], at: node)
        }
    }

    func text(_ text: String) -> UInt64 {
        let place = kernel.object()
        kernel.memory.place([Array(text.utf8).reversed().reduce(0) { $0 << 8 | UInt64($1) }, 0], at: place)
        if text.utf8.count > 8 {
            kernel.memory.place(
                [Array(text.utf8).dropFirst(8).reversed().reduce(0) { $0 << 8 | UInt64($1) }, 0], at: place + 8)
            kernel.memory.place([Array(text.utf8).prefix(8).reversed().reduce(0) { $0 << 8 | UInt64($1) }], at: place)
        }
        return place.rawValue
    }

    func setVerdict(_ code: Int32, chain: VirtualAddress = .null) {
        let place = expression + layout.expression.data + verdict
        kernel.set(layout.expression.verdictCode, of: place, to: UInt64(UInt32(bitPattern: code)))
        kernel.set(layout.expression.verdictChain, of: place, to: chain.rawValue)
    }

    func read(variable: String = "nft_imm_ops") throws -> PacketFilter {
        let manifest = KernelManifest(
            info: VMCoreInfo(text: []), tables: kernel.memory.tables, symbols: SymbolTable(addresses: [variable: operations]),
            types: types)
        let dead = DeadKernel(source: kernel.memory, manifest: manifest, layout: kernel.layout, cpus: [])
        let reader = try PacketFilterReader(dead, namespace: namespace, ticksPerSecond: 250)
        let filter = try reader.read(namespace)
        #expect(reader.baseChains == [chain])
        return filter
    }

    @Test func readsARule() throws {
        let table = try #require(try read().tables.first)
        #expect(table.family == 2 && table.name == "filter")
        let chain = try #require(table.chains.first)
        #expect(chain.name == "input" && chain.base == PacketFilter.Base(hook: 1, priority: 0, type: "filter", policy: 1))
        let expressions = try #require(chain.rules.first).expressions
        #expect(
            expressions == [
                PacketFilter.Expression(
                    name: "immediate",
                    attributes: [
                        .init(1, value: UInt32(0)), .init(2, nested: [.init(2, nested: [.init(1, value: UInt32(1))])]),
                    ])
            ])
    }

    @Test func whatIsOfAnotherGenerationIsNotThere() throws {
        kernel.set(layout.rule.generations, of: rule, to: 1)
        #expect(try read().tables.first?.chains.first?.rules.isEmpty == true)
        kernel.set(layout.rule.generations, of: rule, to: 2)
        #expect(try read().tables.first?.chains.first?.rules.count == 1)
    }

    @Test func namesWhatItDoesNotUnderstand() throws {
        #expect(throws: PacketFilterProblem.self) { try read(variable: "nft_cmp_ops") }
        kernel.set(layout.expression.typeName, of: expressionType, to: text("inner"))
        do {
            _ = try read()
            Issue.record("it reads an expression that it does not know")
        } catch let problem as PacketFilterProblem {
            #expect(problem.description.hasPrefix("expression inner"))
        }
    }

    /// The end of a range has no time of its own.
    @Test func aRangeWhoseTimeIsOverGoesWithItsEnd() {
        func element(_ key: UInt8, isEnd: Bool = false, isExpired: Bool = false) -> PacketFilterReader.FoundElement {
            var element = PacketFilter.Element()
            element.key = [key]
            element.flags = isEnd ? 1 : 0
            return PacketFilterReader.FoundElement(element: element, isExpired: isExpired)
        }
        func keys(_ elements: [PacketFilterReader.FoundElement]) -> [UInt8] {
            PacketFilterReader.unexpired(elements).compactMap(\.key).flatMap(\.self)
        }
        #expect(
            keys([
                element(0, isEnd: true), element(10), element(20, isEnd: true), element(30, isExpired: true),
                element(40, isEnd: true), element(50), element(60, isEnd: true),
            ]) == [0, 10, 20, 50, 60])
        // The next range begins where this one ends, and one that reaches to the largest key has no end.
        #expect(keys([element(10, isExpired: true), element(20), element(30, isEnd: true)]) == [20, 30])
        #expect(
            keys([
                element(10, isExpired: true), element(20, isExpired: true), element(30, isEnd: true), element(40),
                element(50, isEnd: true),
            ]) == [40, 50])
        #expect(keys([element(10), element(20, isEnd: true), element(30, isExpired: true)]) == [10, 20])
    }

    @Test func locksOfConnectionsAreNoRules() throws {
        kernel.set(layout.table.name, of: table, to: text("xenpr-lock"))
        #expect(try read().isEmpty)
        kernel.set(layout.table.name, of: table, to: text("CRIU-17"))
        #expect(try read().isEmpty)
        kernel.set(layout.table.name, of: table, to: text("CRIU-x"))
        #expect(try !read().isEmpty)
    }

    @Test func contradictionsAreDamage() throws {
        let size = try kernel.dead.reader.value(layout.rule.length, of: rule)
        for length in [1, size - 8, size + 8, size * 40] {
            kernel.set(layout.rule.length, of: rule, to: length)
            #expect(throws: (any Error).self, "\(length) bytes of expressions") { try read() }
        }
        kernel.set(layout.rule.length, of: rule, to: size)
        setVerdict(-3, chain: rule)
        #expect(throws: MemoryFault.self) { try read() }
        setVerdict(-3, chain: chain)
        #expect(throws: Never.self) { try read() }
        setVerdict(77)
        #expect(throws: MemoryFault.self) { try read() }
        setVerdict(1)
        kernel.set(layout.expression.size, of: operations, to: 0)
        #expect(throws: MemoryFault.self) { try read() }
        kernel.set(layout.expression.size, of: operations, to: size)
        kernel.set(layout.chain.table, of: chain, to: rule.rawValue)
        #expect(throws: MemoryFault.self) { try read() }
        kernel.set(layout.chain.table, of: chain, to: table.rawValue)
        // A list that does not come back.
        kernel.memory.place([(rule + layout.rule.link.offset).rawValue], at: rule + layout.rule.link.offset)
        #expect(throws: MemoryFault.self) { try read() }
    }
}
