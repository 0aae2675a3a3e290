/// A structure or union of the kernel, to look fields up in.
public struct Structure: Sendable {
    let table: TypeTable
    let id: UInt32
    public let name: String

    /// Bytes of the structure.
    public var size: Int { table.extent(of: id).size }

    /// The field at `path`: a name, or names joined by dots through embedded structures.
    ///
    /// Members of anonymous structures and unions are found as C finds them.
    /// - Throws: `KernelError.noField`.
    public func field(_ path: String) throws(KernelError) -> Field {
        guard let field = optional(path) else { throw .noField(type: name, field: path) }
        return field
    }

    /// The first of several names that exists: the newest first, then those of older kernels.
    public func field(anyOf paths: String...) throws(KernelError) -> Field {
        for path in paths { if let field = optional(path) { return field } }
        throw .noField(type: name, field: paths.joined(separator: " or "))
    }

    /// The field at `path`, nil when this kernel has none.
    public func optional(_ path: String) -> Field? {
        var type = id
        var found = Field(offset: 0, size: 0)
        for part in path.split(separator: ".") {
            guard let (field, next) = member(String(part), of: type, depth: 0) else { return nil }
            found = Field(offset: found.offset + field.offset, size: field.size, count: field.count, bits: field.bits)
            type = next
        }
        return found
    }

    private func member(_ name: String, of type: UInt32, depth: Int) -> (Field, UInt32)? {
        guard depth < 16 else { return nil }
        for member in table.members(of: table.resolve(type)) {
            let offset = member.bitOffset / 8
            if member.name == name {
                let (size, count) = table.extent(of: member.type)
                guard member.bitSize > 0 else { return (Field(offset: offset, size: size, count: count), member.type) }
                let bits = Field.Bits(first: member.bitOffset % 8, count: member.bitSize)
                return (Field(offset: offset, size: (bits.first + bits.count + 7) / 8, bits: bits), member.type)
            }
            if member.name.isEmpty, let (field, next) = self.member(name, of: member.type, depth: depth + 1) {
                return (Field(offset: offset + field.offset, size: field.size, count: field.count, bits: field.bits), next)
            }
        }
        return nil
    }
}
