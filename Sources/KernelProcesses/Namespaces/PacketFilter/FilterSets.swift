import GuestMemory
import KernelObjects
import KernelTypes
import ProcessModel

/// `struct nft_set` (nf_tables_fill_set and nf_tables_fill_setelem of net/netfilter/nf_tables_api.c).
extension PacketFilterReader {
    /// The current sets of a table, so that rules and sets can refer to them.
    func setList(of table: VirtualAddress) throws -> [VirtualAddress] {
        let fields = layout.set
        var current: [VirtualAddress] = []
        for set in try list(table + layout.table.sets.offset, fields.link) where try isCurrent(fields.generations, of: set) {
            guard try reader.pointer(fields.table, of: set) == table else {
                throw MemoryFault(.damaged("set of another table"), at: set)
            }
            let flags = try reader.value(fields.flags, of: set)
            sets[set] = SetSummary(
                name: try name(at: fields.name, of: set), isMap: flags & Self.isMap != 0,
                expressionCount: try reader.value(fields.expressionCount, of: set))
            current.append(set)
        }
        return current
    }

    /// NFT_SET_MAP, NFT_SET_OBJECT, and all that are known, up to NFT_SET_EXPR.
    private static let isMap: UInt64 = 8
    private static let hasObjects: UInt64 = 0x40
    private static let knownFlags: UInt64 = 0x1ff
    /// NFT_DATA_VERDICT
    private static let verdictType: UInt32 = 0xffff_ff00

    func set(at address: VirtualAddress, in table: VirtualAddress) throws -> PacketFilter.ElementSet {
        let fields = layout.set
        guard let summary = sets[address] else { throw MemoryFault(.damaged("set of another table"), at: address) }
        let flags = try reader.value(fields.flags, of: address)
        guard flags & ~Self.knownFlags == 0 else {
            throw PacketFilterProblem("flags 0x\(String(flags, radix: 16)) of set \(summary.name)")
        }
        var set = PacketFilter.ElementSet(
            name: summary.name, flags: UInt32(flags), keyType: try reader.uint32(fields.keyType, of: address),
            keyLength: try reader.uint32(fields.keyLength, of: address))
        if flags & Self.isMap != 0 {
            set.dataType = try reader.uint32(fields.dataType, of: address)
            set.dataLength = try reader.uint32(fields.dataLength, of: address)
        }
        if flags & Self.hasObjects != 0 { set.objectType = try reader.uint32(fields.objectType, of: address) }
        // NFT_DATA_VALUE_MAXLEN
        guard (1...64).contains(set.keyLength), set.dataLength <= 64 else {
            throw MemoryFault(.damaged("set with keys of \(set.keyLength) bytes"), at: address)
        }
        set.timeoutMilliseconds = milliseconds(try reader.value(fields.timeout, of: address))
        set.collectionMilliseconds = try reader.uint32(fields.collection, of: address)
        set.policy = try reader.uint32(fields.policy, of: address)
        let operations = try reader.pointer(fields.operations, of: address)
        set.size = try reader.uint32(fields.size, of: address)
        // A range of the red-black tree is two elements (nft_rbtree_usize).
        if let userSize = fields.userSize, try !reader.pointer(userSize, of: operations).isNull { set.size /= 2 }
        let parts = Int(try reader.value(fields.fieldCount, of: address))
        guard parts <= fields.fieldLengths.count else { throw MemoryFault(.damaged("key of \(parts) parts"), at: address) }
        if parts > 1 { set.fieldLengths = Array(try reader.bytes(fields.fieldLengths, of: address).prefix(parts)) }
        set.userData = try userData(fields.userData, of: address)
        guard summary.expressionCount <= UInt64(fields.expressions.count) else {
            throw MemoryFault(.damaged("set with \(summary.expressionCount) expressions"), at: address)
        }
        for index in 0..<Int(summary.expressionCount) {
            set.expressions.append(try expression(at: reader.pointer(fields.expressions.element(index), of: address)))
        }
        set.elements = try elements(of: address, operations, set)
        return set
    }

    private func elements(of address: VirtualAddress, _ operations: VirtualAddress, _ set: PacketFilter.ElementSet) throws
        -> [PacketFilter.Element]
    {
        let fields = layout.set
        guard let kind = symbols.names[operations].flatMap({ FilterSetKind.operations[$0] }) else {
            throw PacketFilterProblem("set \(set.name) of kind \(symbols.names[operations] ?? "\(operations)")")
        }
        let elementFields = try elementLayout()
        let offset = Int(try reader.uint32(fields.elementOffset, of: operations))
        guard offset <= 256 else { throw MemoryFault(.damaged("elements of \(offset) bytes"), at: operations) }
        var found: [FoundElement] = []
        for element in try kind.elements(in: address + fields.data, of: self) {
            if let next = try self.element(at: element + offset, elementFields, set, isCatchAll: false) { found.append(next) }
        }
        var result = Self.unexpired(found)
        for other in try list(address + fields.catchAll.offset, fields.catchAllLink) {
            let element = try reader.pointer(fields.catchAllElement, of: other)
            if let next = try self.element(at: element + offset, elementFields, set, isCatchAll: true), !next.isExpired {
                result.append(next.element)
            }
        }
        return result
    }

    /// An element, of which no more than its flags and its key count if its time is over.
    struct FoundElement {
        var element: PacketFilter.Element
        var isExpired: Bool
    }

    /// Those whose time is not over.
    ///
    /// Of a range in a tree the end is an element of its own, which has no time: it goes with its beginning, as the kernel takes both away itself
    /// (nft_rbtree_gc). An end without a beginning the kernel refuses, and the whole batch with it (`__nft_rbtree_insert`).
    /// - Parameter elements: from the smallest key on.
    static func unexpired(_ elements: [FoundElement]) -> [PacketFilter.Element] {
        var result: [PacketFilter.Element] = []
        var isBeginningExpired = false
        for found in elements {
            // NFT_SET_ELEM_INTERVAL_END
            let isEnd = found.element.flags & 1 != 0
            if !found.isExpired, !(isEnd && isBeginningExpired) { result.append(found.element) }
            isBeginningExpired = found.isExpired && !isEnd
        }
        return result
    }

    private func elementLayout() throws -> FilterElementLayout {
        if let known = knownElements { return known }
        let types = try kernel.moduleTypes("nf_tables") ?? kernel.manifest.types
        let found = try FilterElementLayout(types)
        knownElements = found
        return found
    }

    /// - Parameter address: of its `struct nft_set_ext`.
    /// - Returns: nil for one that is no longer, or not yet, part of the set, whatever its time.
    private func element(
        at address: VirtualAddress, _ fields: FilterElementLayout, _ set: PacketFilter.ElementSet, isCatchAll: Bool
    ) throws -> FoundElement? {
        guard try isCurrent(fields.generations, of: address) else { return nil }
        let offsets = try reader.bytes(fields.offsets, of: address)
        /// Where a part lies; nil: there is none.
        func part(_ number: Int?) throws -> VirtualAddress? {
            guard let number, number < offsets.count, offsets[number] != 0 else { return nil }
            guard Int(offsets[number]) >= fields.size else { throw MemoryFault(.damaged("part of an element"), at: address) }
            return address + Int(offsets[number])
        }
        var element = PacketFilter.Element()
        if let flags = try part(fields.flags) { element.flags = UInt32(try reader.memory.unsigned(at: flags, size: 1)) }
        // NFT_SET_ELEM_CATCHALL
        guard (element.flags & 2 != 0) == isCatchAll, element.flags & ~3 == 0 else {
            throw MemoryFault(.damaged("flags \(element.flags) of an element"), at: address)
        }
        if !isCatchAll {
            guard let key = try part(fields.key) else { throw MemoryFault(.damaged("element without a key"), at: address) }
            element.key = try reader.memory.bytes(at: key, count: Int(set.keyLength))
        }
        if let end = try part(fields.keyEnd) { element.keyEnd = try reader.memory.bytes(at: end, count: Int(set.keyLength)) }
        if let data = try part(fields.data) {
            element.data =
                set.dataType == Self.verdictType
                ? try verdict(at: data, 2) : value(try reader.memory.bytes(at: data, count: Int(set.dataLength)), 2)
        }
        guard try readTimes(of: &element, part(fields.timeout), part(fields.expiration), fields, set) else {
            return FoundElement(element: element, isExpired: true)
        }
        if let data = try part(fields.userData) {
            let length = Int(try reader.memory.unsigned(at: data, size: 1)) + 1
            element.userData = try reader.memory.bytes(at: data + 1, count: length)
        }
        if let expressions = try part(fields.expressions) {
            let length = Int(try reader.value(fields.expressionsLength, of: expressions))
            var context = FilterRuleContext(family: 0)
            element.expressions = try self.expressions(at: expressions + fields.expressionsData, count: length, rule: &context)
        }
        if let pointer = try part(fields.object) {
            guard let object = objects[try reader.memory.pointer(at: pointer)] else {
                throw MemoryFault(.damaged("element with an object of another table"), at: address)
            }
            element.object = object.name
        }
        return FoundElement(element: element, isExpired: false)
    }

    /// - Returns: whether its time is not over.
    private func readTimes(
        of element: inout PacketFilter.Element, _ timeout: VirtualAddress?, _ expiration: VirtualAddress?,
        _ fields: FilterElementLayout, _ set: PacketFilter.ElementSet
    ) throws -> Bool {
        var end: UInt64 = 0
        if let timeout {
            let ticks = try reader.value(fields.timeoutTicks, of: timeout)
            let time = milliseconds(ticks)
            // A timeout of 0 is one that does not end, in a set whose elements do.
            if time != set.timeoutMilliseconds { element.timeoutMilliseconds = time }
            if let field = fields.timeoutEnd, ticks != 0 { end = try reader.value(field, of: timeout) }
        }
        if let expiration { end = try reader.memory.unsigned(at: expiration, size: 8) }
        guard end != 0 else { return true }
        guard end > now else { return false }
        element.expirationMilliseconds = milliseconds(end - now)
        return true
    }
}

/// `struct nft_set_ext`: which part of an element lies where. The numbers of the parts are an enumeration (nft_set_extensions), which has changed.
struct FilterElementLayout {
    let size: Int
    let generations, offsets: Field
    let key, keyEnd, data, flags, timeout, expiration, userData, expressions, object: Int?
    /// Since 6.12 `struct nft_timeout` has both; before, each is a part.
    let timeoutTicks: Field
    let timeoutEnd: Field?
    let expressionsLength: Field
    let expressionsData: Int

    init(_ types: TypeTable) throws(KernelError) {
        let element = try types.structure("nft_set_ext")
        generations = try element.field("genmask")
        offsets = try element.field("offset")
        size = try element.field("data").offset
        func part(_ name: String) -> Int? { types.enumerator("NFT_SET_EXT_" + name).map { Int($0) } }
        key = part("KEY")
        keyEnd = part("KEY_END")
        data = part("DATA")
        flags = part("FLAGS")
        timeout = part("TIMEOUT")
        expiration = part("EXPIRATION")
        userData = part("USERDATA")
        expressions = part("EXPRESSIONS")
        object = part("OBJREF")
        let time = try? types.structure("nft_timeout")
        timeoutTicks = try time?.field("timeout") ?? Field(offset: 0, size: 8)
        timeoutEnd = try time?.field("expiration")
        let list = try types.structure("nft_set_elem_expr")
        expressionsLength = try list.field("size")
        expressionsData = try list.field("data").offset
    }
}
