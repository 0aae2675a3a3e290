import GuestMemory
import KernelObjects
import KernelTypes
import ProcessModel

/// A form of an expression in this kernel.
struct FilterExpressionLayout {
    let form: FilterExpressionForm
    /// nil: it has no data.
    let structure: Structure?
    let attributes: [(form: FilterAttributeForm, field: Field?)]
    /// `nft_expr_ops.size`: bytes of the expression with what is before its data.
    let size: Int
    /// `nft_expr_ops` itself.
    let operations: VirtualAddress

    /// A field that only some expressions have.
    func field(_ name: String) throws -> Field {
        guard let field = structure?.optional(name) else {
            throw PacketFilterProblem("expression \(form.name) without \(name)")
        }
        return field
    }
}

extension PacketFilterReader {
    /// NFT_RULE_MAXEXPRS
    private static let expressionLimit = 128

    /// What stands in `count` bytes one behind the other.
    func expressions(at start: VirtualAddress, count: Int, rule: inout FilterRuleContext) throws -> [PacketFilter.Expression] {
        var result: [PacketFilter.Expression] = []
        var position = 0
        while position < count {
            let address = start + position
            let form = try expressionForm(at: address)
            guard form.size <= count - position else {
                throw MemoryFault(.damaged("expression of \(form.size) bytes in a rule of \(count)"), at: address)
            }
            guard result.count < Self.expressionLimit else {
                throw MemoryFault(.damaged("rule of too many expressions"), at: start)
            }
            result.append(try expression(at: address, form, &rule))
            position += form.size
        }
        try self.count(result.count)
        return result
    }

    /// One that stands by itself, as those that each new element of a set gets. Only such as remember something do (NFT_EXPR_STATEFUL), so none leads to another one.
    func expression(at address: VirtualAddress) throws -> PacketFilter.Expression {
        let form = try expressionForm(at: address)
        guard Self.withState.contains(form.form.name) else {
            throw MemoryFault(.damaged("expression \(form.form.name) of a set"), at: address)
        }
        var rule = FilterRuleContext(family: 0)
        try count()
        return try expression(at: address, form, &rule)
    }

    private static let withState: Set<String> = ["connlimit", "counter", "last", "limit", "quota"]

    private func expressionForm(at address: VirtualAddress) throws -> FilterExpressionLayout {
        let fields = layout.expression
        let operations = try reader.pointer(fields.operations, of: address)
        if let known = knownForms[operations] { return known }
        let name = try reader.memory.string(
            at: reader.pointer(fields.typeName, of: reader.pointer(fields.type, of: operations)), limit: 32)
        let variable = symbols.names[operations] ?? ""
        let size = Int(try reader.uint32(fields.size, of: operations))
        guard size >= fields.data, size % 8 == 0, size < 4096 else {
            throw MemoryFault(.damaged("expression of \(size) bytes"), at: operations)
        }
        let form = FilterExpressionForm.all.first {
            $0.name == name && ($0.operations.isEmpty || $0.operations.contains(variable))
        }
        guard let form else {
            // A name out of damaged memory is no word.
            let isWord = !name.isEmpty && name.utf8.allSatisfy { UInt8(ascii: "!")...UInt8(ascii: "~") ~= $0 }
            guard isWord else { throw MemoryFault(.damaged("name of an expression"), at: operations) }
            throw PacketFilterProblem("expression \(name)" + (variable.isEmpty ? "" : " (\(variable))"))
        }
        let structure = try self.structure(form)
        let attributes = try form.attributes.map { attribute -> (FilterAttributeForm, Field?) in
            if attribute.field.isEmpty { return (attribute, nil) }
            let names = attribute.field.split(separator: "|").map(String.init)
            guard let field = names.lazy.compactMap({ structure?.optional($0) }).first else {
                throw PacketFilterProblem("expression \(name) without \(attribute.field)")
            }
            guard fields.data + field.offset + field.size <= size else {
                throw MemoryFault(.damaged("expression \(name) of \(size) bytes"), at: operations)
            }
            return (attribute, field)
        }
        let found = FilterExpressionLayout(
            form: form, structure: structure, attributes: attributes, size: size, operations: operations)
        knownForms[operations] = found
        return found
    }

    private func structure(_ form: FilterExpressionForm) throws -> Structure? {
        if form.structures.isEmpty { return nil }
        return try structure(anyOf: form.structures, in: form.module, for: "expression \(form.name)")
    }

    /// A structure of a module or, where that is none, of the kernel.
    func structure(anyOf names: [String], in module: String, for what: String) throws -> Structure {
        for types in [try kernel.moduleTypes("nf_tables"), try kernel.moduleTypes(module), kernel.manifest.types] {
            guard let types else { continue }
            for name in names where types.has(name) { return try types.structure(name) }
        }
        throw PacketFilterProblem("\(what), whose types the kernel has not")
    }

    private func expression(at address: VirtualAddress, _ form: FilterExpressionLayout, _ rule: inout FilterRuleContext) throws
        -> PacketFilter.Expression
    {
        let data = address + layout.expression.data
        var attributes: [PacketFilter.Attribute] = []
        for (attribute, field) in form.attributes {
            if let told = try self.attribute(attribute, field, of: data, form) { attributes.append(told) }
        }
        if let special = form.form.special {
            attributes += try self.attributes(special, of: data, form, &rule)
        }
        if form.form.isOfConnections { usesConnections = true }
        let name = KernelString(form.form.name)
        let result = PacketFilter.Expression(
            name: name, attributes: form.structure == nil && attributes.isEmpty ? nil : attributes)
        rule.note(result)
        return result
    }

    private func attribute(
        _ form: FilterAttributeForm, _ field: Field?, of data: VirtualAddress, _ expression: FilterExpressionLayout
    )
        throws -> PacketFilter.Attribute?
    {
        if case .constant(let value) = form.encoding { return .init(form.number, value: value) }
        guard let field else { return nil }
        if case .data = form.encoding {
            let length = try reader.value(expression.field("len"), of: data)
            return value(try bytes(field, of: data, count: length), form.number)
        }
        let value = try reader.value(field, of: data)
        if form.isOptional, value == 0 { return nil }
        switch form.encoding {
        case .u8: return .init(form.number, value: UInt8(truncatingIfNeeded: value))
        case .u16: return .init(form.number, value: UInt16(truncatingIfNeeded: value))
        case .u32: return .init(form.number, value: UInt32(truncatingIfNeeded: value))
        case .register: return try register(value, form.number)
        case .data, .constant: return nil
        }
    }

    /// As nft_dump_register of net/netfilter/nf_tables_api.c tells it: the kernel numbers words of 4 bytes, of which the first four are the verdict's.
    func register(_ number: UInt64, _ attribute: UInt16) throws -> PacketFilter.Attribute {
        // NFT_REG32_00 is 8, and there are 16 of them.
        guard number == 0 || (4..<20).contains(number) else { throw PacketFilterProblem("register \(number)") }
        return .init(attribute, value: number == 0 ? UInt32(0) : UInt32(number) + 4)
    }

    /// NFTA_DATA_VALUE in an attribute.
    func value(_ bytes: [UInt8], _ attribute: UInt16) -> PacketFilter.Attribute { .init(attribute, nested: [.init(1, bytes)]) }

    /// Of a `struct nft_data`.
    func bytes(_ field: Field, of data: VirtualAddress, count: UInt64) throws -> [UInt8] {
        guard count > 0, count <= UInt64(field.size) else { throw MemoryFault(.damaged("value of \(count) bytes"), at: data) }
        return try reader.memory.bytes(at: data + field.offset, count: Int(count))
    }

    /// NFTA_DATA_VERDICT in an attribute: `struct nft_verdict` with the name of the chain that it leads to.
    func verdict(at verdict: VirtualAddress, _ attribute: UInt16) throws -> PacketFilter.Attribute {
        let code = try reader.int32(layout.expression.verdictCode, of: verdict)
        var parts: [PacketFilter.Attribute] = [.init(1, value: code)]
        switch code {
        // NFT_JUMP, NFT_GOTO
        case -3, -4:
            guard let chain = chains[try reader.pointer(layout.expression.verdictChain, of: verdict)] else {
                throw MemoryFault(.damaged("verdict that leads to no chain of its table"), at: verdict)
            }
            parts.append(.init(2, text: chain))
        // NF_DROP, NF_ACCEPT, NFT_CONTINUE, NFT_BREAK, NFT_RETURN
        case 0, 1, -1, -2, -5: break
        // NF_QUEUE has the number of its queue in the upper half.
        default: guard code & 0xff == 3 else { throw MemoryFault(.damaged("verdict \(code)"), at: verdict) }
        }
        return .init(attribute, nested: [.init(2, nested: parts)])
    }
}

extension FilterExpressionForm {
    /// Whether it asks or tells connection tracking something.
    fileprivate var isOfConnections: Bool { ["ct", "nat", "masq", "redir", "connlimit"].contains(name) }
}
