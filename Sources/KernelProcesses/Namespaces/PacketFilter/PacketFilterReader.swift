import GuestMemory
import KernelObjects
import KernelTypes
import ProcessModel

/// What of a packet filter is not understood, so that none of it comes back.
struct PacketFilterProblem: Error, CustomStringConvertible {
    /// In a few words, for an operator.
    let description: String

    init(_ description: String) { self.description = description }
}

/// Reads the rule sets of nf_tables of one network namespace, as the functions of net/netfilter/nf_tables_api.c tell of them (nf_tables_fill_*_info).
///
/// Errors are `PacketFilterProblem`s for what is not understood, and `MemoryFault`s.
final class PacketFilterReader {
    let kernel: DeadKernel
    let layout: PacketFilterLayout
    let symbols: ModuleSymbols
    let ticksPerSecond: UInt64
    let possibleCPUs: Int
    /// `jiffies_64`.
    let now: UInt64
    /// What the current generation is called in masks of those in which something is not there.
    let generation: UInt64
    /// Of the table that is being read, by address.
    var chains: [VirtualAddress: KernelString] = [:]
    var sets: [VirtualAddress: SetSummary] = [:]
    var objects: [VirtualAddress: PacketFilter.StatefulObject] = [:]
    /// What the hooks of base chains refer to, of all tables.
    private(set) var baseChains: Swift.Set<VirtualAddress> = []
    var knownForms: [VirtualAddress: FilterExpressionLayout] = [:]
    var knownElements: FilterElementLayout?
    private var remaining = objectLimit
    /// Whether some rule asks connection tracking.
    var usesConnections = false

    /// What a rule has to know of a set.
    struct SetSummary {
        var name: KernelString
        var isMap: Bool
        var expressionCount: UInt64
    }

    /// Tables, chains, rules, expressions, sets, elements and objects together.
    static let objectLimit = 1 << 17
    static let nameLimit = 256
    static let userDataLimit: UInt64 = 256 + 1

    init(_ kernel: DeadKernel, namespace: VirtualAddress, ticksPerSecond: UInt64) throws {
        guard
            let types = try kernel.moduleTypes("nf_tables")
                ?? (kernel.manifest.types.has("nft_table") ? kernel.manifest.types : nil)
        else { throw PacketFilterProblem("the kernel has no types of the module nf_tables") }
        self.kernel = kernel
        do { layout = try PacketFilterLayout(types) } catch { throw PacketFilterProblem("\(error)") }
        symbols = try kernel.netfilterSymbols()
        self.ticksPerSecond = ticksPerSecond
        possibleCPUs = Int(try kernel.possibleCPUs())
        now = try kernel.reader.variable("jiffies_64") ?? 0
        generation = 1 << (try kernel.reader.value(layout.generation, of: namespace) & 1)
    }

    var reader: KernelReader { kernel.reader }

    /// Counts what is read, for it all comes out of a memory that may have no end.
    func count(_ number: Int = 1) throws {
        remaining -= number
        guard remaining >= 0 else { throw PacketFilterProblem("more than \(Self.objectLimit) objects") }
    }

    func isCurrent(_ generations: Field, of object: VirtualAddress) throws -> Bool {
        try reader.value(generations, of: object) & generation == 0
    }

    func name(at pointer: Field, of object: VirtualAddress) throws -> KernelString {
        let name = try reader.memory.string(at: reader.pointer(pointer, of: object), limit: Self.nameLimit)
        guard !name.isEmpty, !name.contains("\u{fffd}") else {
            throw MemoryFault(.damaged("name in a packet filter"), at: object)
        }
        return KernelString(name)
    }

    func userData(_ fields: PacketFilterLayout.UserData?, of object: VirtualAddress) throws -> [UInt8] {
        guard let fields else { return [] }
        let length = try reader.value(fields.length, of: object)
        if length == 0 { return [] }
        // NFT_USERDATA_MAXLEN
        guard length < Self.userDataLimit else { throw MemoryFault(.damaged("\(length) bytes of user data"), at: object) }
        return try reader.memory.bytes(at: reader.pointer(fields.bytes, of: object), count: Int(length))
    }

    func list(_ head: VirtualAddress, _ link: Field) throws -> [VirtualAddress] {
        var found: [VirtualAddress] = []
        if let fault = reader.forEach(onList: head, link: link, limit: Self.objectLimit, { found.append($0) }) { throw fault }
        try count(found.count)
        return found
    }

    /// Milliseconds of a number of ticks.
    func milliseconds(_ ticks: UInt64) -> UInt64 {
        let (seconds, rest) = ticks.quotientAndRemainder(dividingBy: ticksPerSecond)
        return seconds &* 1000 &+ rest * 1000 / ticksPerSecond
    }

    /// The tables of the namespace, but those that lock connections for CRIU.
    func read(_ namespace: VirtualAddress) throws -> PacketFilter {
        var filter = PacketFilter()
        for table in try list(tables(of: namespace), layout.table.link) where try isCurrent(layout.table.generations, of: table)
        {
            if let found = try read(table: table) { filter.tables.append(found) }
        }
        return filter
    }

    private func tables(of namespace: VirtualAddress) throws -> VirtualAddress {
        guard let field = layout.tablesOfModule else {
            guard let field = layout.tablesOfNamespace else {
                throw PacketFilterProblem("it is not known where its tables are")
            }
            return namespace + field.offset
        }
        guard let part = try pointer(of: "nf_tables_net_id", in: namespace) else {
            throw PacketFilterProblem("it is not known where its tables are")
        }
        return part + field.offset
    }

    /// What a module keeps for a namespace (net_generic, include/net/netns/generic.h), by the variable that has its number.
    func pointer(of variable: String, in namespace: VirtualAddress) throws -> VirtualAddress? {
        guard let number = symbols.addresses[variable] else { return nil }
        let index = try reader.memory.unsigned(at: number, size: 4)
        // Each of them belongs to a module.
        guard index > 0, index < 4096 else {
            throw MemoryFault(.damaged("number \(index) of a module's part of a namespace"), at: number)
        }
        let generic = try reader.pointer(layout.generic, of: namespace)
        return try reader.memory.pointer(at: generic + layout.genericPointers.offset + Int(index) * 8)
    }

    private func read(table address: VirtualAddress) throws -> PacketFilter.Table? {
        let fields = layout.table
        var table = PacketFilter.Table(
            family: UInt8(truncatingIfNeeded: try reader.value(fields.family, of: address)),
            name: try name(at: fields.name, of: address))
        (chains, sets, objects) = ([:], [:], [:])
        let all = try list(address + fields.chains.offset, layout.chain.link)
        for chain in all where try reader.value(layout.chain.flags, of: chain) & Self.isBase != 0 { baseChains.insert(chain) }
        if Self.isLock(table.name) { return nil }
        table.flags = try reader.uint32(fields.flags, of: address)
        // NFT_TABLE_F_DORMANT. One with an owner goes when a socket is closed, and what else there may be is not known.
        guard table.flags & ~1 == 0 else { throw PacketFilterProblem("table \(table.name) belongs to a program") }
        table.userData = try userData(fields.userData, of: address)
        guard try list(address + fields.flowtables.offset, Field(offset: 0, size: 16)).isEmpty else {
            throw PacketFilterProblem("flowtable in table \(table.name)")
        }
        var current: [VirtualAddress] = []
        for chain in all where try isCurrent(layout.chain.generations, of: chain) {
            guard try reader.pointer(layout.chain.table, of: chain) == address else {
                throw MemoryFault(.damaged("chain of another table"), at: chain)
            }
            chains[chain] = try name(at: layout.chain.name, of: chain)
            current.append(chain)
        }
        let allSets = try setList(of: address)
        for object in try list(address + fields.objects.offset, layout.object.link)
        where try isCurrent(layout.object.generations, of: object) {
            guard try reader.pointer(layout.object.table, of: object) == address else {
                throw MemoryFault(.damaged("stateful object of another table"), at: object)
            }
            let found = try self.object(at: object)
            objects[object] = found
            table.objects.append(found)
        }
        for set in allSets { table.sets.append(try self.set(at: set, in: address)) }
        for chain in current { table.chains.append(try self.chain(at: chain, family: table.family)) }
        return table
    }

    /// What CRIU and the agent make so that no packet of a connection passes while its ends are restored, and take away themselves (CRIU's criu/netfilter.c).
    private static func isLock(_ name: KernelString) -> Bool {
        let (text, criu) = (name.description, "CRIU-")
        return text == "xenpr-lock" || text.hasPrefix(criu) && Int32(text.dropFirst(criu.count)) != nil
    }

    /// NFT_CHAIN_BASE, NFT_CHAIN_BINDING
    private static let isBase: UInt64 = 1
    private static let isBinding: UInt64 = 4

    private func chain(at address: VirtualAddress, family: UInt8) throws -> PacketFilter.Chain {
        let fields = layout.chain
        guard let name = chains[address] else { throw MemoryFault(.damaged("chain of another table"), at: address) }
        var chain = PacketFilter.Chain(name: name)
        let flags = try reader.value(fields.flags, of: address)
        guard flags & ~(Self.isBase | Self.isBinding) == 0 else {
            throw PacketFilterProblem("chain \(name) that is offloaded to a device")
        }
        chain.isBound = flags & Self.isBinding != 0
        chain.userData = try userData(fields.userData, of: address)
        if flags & Self.isBase != 0 { chain.base = try base(of: address) }
        for rule in try list(address + fields.rules.offset, layout.rule.link)
        where try isCurrent(layout.rule.generations, of: rule) {
            chain.rules.append(try self.rule(at: rule, family: family))
        }
        return chain
    }

    private func base(of chain: VirtualAddress) throws -> PacketFilter.Base {
        let fields = layout.chain
        let base = reader.container(of: chain, fields.inBase)
        let policy = try reader.uint32(fields.policy, of: base)
        // NF_DROP, NF_ACCEPT
        guard policy <= 1 else { throw MemoryFault(.damaged("policy \(policy) of a chain"), at: chain) }
        var result = PacketFilter.Base(
            hook: try reader.uint32(fields.hook, of: base), priority: try reader.int32(fields.priority, of: base),
            type: try name(at: fields.typeName, of: reader.pointer(fields.type, of: base)), policy: policy)
        for hook in try list(base + fields.hooks.offset, fields.hookLink) {
            result.devices.append(try device(of: hook))
        }
        let statistics = try reader.pointer(fields.statistics, of: base)
        if !statistics.isNull {
            result.counters = PacketFilter.Counters(
                bytes: try sum(fields.statisticsBytes, of: statistics),
                packets: try sum(fields.statisticsPackets, of: statistics))
        }
        return result
    }

    private func device(of hook: VirtualAddress) throws -> KernelString {
        let fields = layout.chain
        if let name = fields.hookName, let length = fields.hookNameLength {
            let text = try reader.text(name, of: hook)
            // With the zero byte at the end of a name that is a whole one.
            guard try reader.value(length, of: hook) == UInt64(text.count + 1) else {
                throw PacketFilterProblem("chain for devices whose names begin with \(KernelString(bytes: text))")
            }
            return KernelString(bytes: text)
        }
        guard let field = fields.hookDevice else { throw PacketFilterProblem("chain for devices") }
        return KernelString(bytes: try reader.text(fields.deviceName, of: reader.pointer(field, of: hook)))
    }

    /// Adds what each CPU has counted.
    func sum(_ field: Field, of parts: VirtualAddress) throws -> UInt64 {
        guard let offsets = reader.symbols.addresses["__per_cpu_offset"] else {
            throw PacketFilterProblem("a kernel without CPUs")
        }
        var sum: UInt64 = 0
        for cpu in 0..<possibleCPUs {
            let shift: UInt64 = try reader.memory.integer(at: offsets + cpu * 8)
            sum &+= try reader.value(field, of: VirtualAddress(parts.rawValue &+ shift))
        }
        return sum
    }

    private func rule(at address: VirtualAddress, family: UInt8) throws -> PacketFilter.Rule {
        var rule = PacketFilter.Rule()
        let length = Int(try reader.value(layout.rule.length, of: address))
        let start = address + layout.rule.data
        var context = FilterRuleContext(family: family)
        rule.expressions = try expressions(at: start, count: length, rule: &context)
        rule.layer4 = try context.layer4()
        if try reader.value(layout.rule.hasUserData, of: address) != 0 {
            // `struct nft_userdata`, whose length counts from 1 on.
            let size = try reader.memory.unsigned(at: start + length, size: 1)
            rule.userData = try reader.memory.bytes(at: start + length + 1, count: Int(size) + 1)
        }
        return rule
    }
}
