/// The types of the kernel: its BTF section (Documentation/bpf/btf.rst, include/uapi/linux/btf.h).
///
/// The bytes come out of a guest's memory, so every offset in them is checked before it is used.
public struct TypeTable: Sendable {
    enum Kind: UInt32 {
        case integer = 1
        case pointer, array, structure, union, enumeration, forward, typedef, volatile, const, restrict, function, prototype
        case variable, section, float, declTag, typeTag, enumeration64
    }

    private let bytes: [UInt8]
    private let stringStart: Int
    private let stringEnd: Int
    /// Where each type stands in `bytes`, from the first on that is not the kernel's; type 0 is void.
    private var positions: [UInt32]
    private var structures: [String: UInt32] = [:]
    /// The kernel's types, for a module's: none, or one.
    private let base: [TypeTable]
    /// How many types and bytes of names the kernel has, behind which a module's are counted on.
    private let firstID: Int
    private let firstName: Int

    private static let magic: UInt32 = 0xeb9f
    private static let headerSize = 24

    /// Indexes a BTF section.
    /// - Parameter base: the kernel's, for that of a module, which counts types and names on from there ("split BTF").
    /// - Throws: `KernelError.types`.
    public init(btf bytes: [UInt8], base: TypeTable? = nil) throws(KernelError) {
        self.bytes = bytes
        self.base = base.map { [$0] } ?? []
        firstID = base?.positions.count ?? 0
        firstName = base.map { $0.stringEnd - $0.stringStart } ?? 0
        positions = base == nil ? [0] : []
        guard bytes.count >= Self.headerSize, Self.word(bytes, 0) & 0xffff == Self.magic else { throw .types("no BTF header") }
        let header = Int(Self.word(bytes, 4))
        let typeStart = header + Int(Self.word(bytes, 8))
        let typeEnd = typeStart + Int(Self.word(bytes, 12))
        stringStart = header + Int(Self.word(bytes, 16))
        stringEnd = stringStart + Int(Self.word(bytes, 20))
        guard typeStart <= typeEnd, typeEnd <= bytes.count, stringStart <= stringEnd, stringEnd <= bytes.count else {
            throw .types("its parts reach beyond its end")
        }
        var position = typeStart
        while position < typeEnd {
            guard position + 12 <= typeEnd else { throw .types("type \(firstID + positions.count) is cut off") }
            let info = Self.word(bytes, position + 4)
            guard let kind = Kind(rawValue: info >> 24 & 0x1f) else {
                throw .types("type \(firstID + positions.count) is of the unknown kind \(info >> 24 & 0x1f)")
            }
            let members = Int(info & 0xffff)
            let id = firstID + positions.count
            let extra =
                switch kind {
                case .integer, .variable, .declTag: 4
                case .array: 12
                case .structure, .union, .section, .enumeration64: members * 12
                case .enumeration, .prototype: members * 8
                default: 0
                }
            guard position + 12 + extra <= typeEnd else { throw .types("type \(id) is cut off") }
            if kind == .structure || kind == .union {
                let name = name(at: Self.word(bytes, position))
                if !name.isEmpty, structures[name] == nil { structures[name] = UInt32(id) }
            }
            positions.append(UInt32(position))
            position += 12 + extra
        }
    }

    /// The structure or union called `name`.
    public func structure(_ name: String) throws(KernelError) -> Structure {
        guard let id = structures[name] else {
            guard let base = base.first else { throw .noType(name) }
            return try base.structure(name)
        }
        return Structure(table: self, id: id, name: name)
    }

    /// The structure or union that a typedef of this name stands for, which may have no name of its own.
    public func structure(typedef name: String) throws(KernelError) -> Structure {
        for index in positions.indices where firstID + index > 0 {
            let type = raw(UInt32(firstID + index))
            guard type.kind == .typedef, self.name(at: type.word(0)) == name else { continue }
            let id = resolve(type.value)
            if [.structure, .union].contains(raw(id).kind) { return Structure(table: self, id: id, name: name) }
        }
        guard let base = base.first else { throw .noType(name) }
        return try base.structure(typedef: name)
    }

    /// Whether a structure or union of this name exists.
    public func has(_ name: String) -> Bool { structures[name] != nil || base.first?.has(name) == true }

    /// The value of an enumerator, wherever it is defined.
    public func enumerator(_ name: String) -> Int64? {
        for index in positions.indices where firstID + index > 0 {
            let type = raw(UInt32(firstID + index))
            guard type.kind == .enumeration || type.kind == .enumeration64 else { continue }
            let stride = type.kind == .enumeration ? 8 : 12
            for index in 0..<type.count {
                let at = 12 + index * stride
                guard self.name(at: type.word(at)) == name else { continue }
                return Int64(Int32(bitPattern: type.word(at + 4)))
            }
        }
        return base.first?.enumerator(name)
    }

    struct Raw {
        /// The section that it stands in, and where.
        fileprivate var bytes: [UInt8]
        fileprivate var position: Int
        var kind: Kind
        var count: Int
        var kindFlag: Bool
        /// Size of the type, or the id of the type referred to.
        var value: UInt32

        /// What stands `offset` bytes behind its beginning.
        fileprivate func word(_ offset: Int) -> UInt32 { TypeTable.word(bytes, position + offset) }
    }

    func raw(_ id: UInt32) -> Raw {
        if let base = base.first, Int(id) < firstID { return base.raw(id) }
        guard id > 0, Int(id) - firstID < positions.count else {
            return Raw(bytes: [], position: 0, kind: .forward, count: 0, kindFlag: false, value: 0)
        }
        let position = Int(positions[Int(id) - firstID])
        let info = Self.word(bytes, position + 4)
        return Raw(
            bytes: bytes, position: position, kind: Kind(rawValue: info >> 24 & 0x1f) ?? .forward, count: Int(info & 0xffff),
            kindFlag: info >> 31 == 1, value: Self.word(bytes, position + 8))
    }

    /// A member of a structure as it stands in BTF.
    struct Member {
        var name: String
        var type: UInt32
        var bitOffset: Int
        /// 0 for a member of whole bytes.
        var bitSize: Int
    }

    func members(of id: UInt32) -> [Member] {
        let type = raw(id)
        guard type.kind == .structure || type.kind == .union else { return [] }
        return (0..<type.count).map { index in
            let at = 12 + index * 12
            let offset = type.word(at + 8)
            return Member(
                name: name(at: type.word(at)), type: type.word(at + 4),
                bitOffset: Int(type.kindFlag ? offset & 0xff_ffff : offset), bitSize: Int(type.kindFlag ? offset >> 24 : 0))
        }
    }

    /// The type behind typedefs and qualifiers.
    func resolve(_ id: UInt32) -> UInt32 {
        var id = id
        // Qualifiers of real kernels nest a few deep; a chain that is longer is a cycle.
        for _ in 0..<32 {
            let type = raw(id)
            switch type.kind {
            case .typedef, .volatile, .const, .restrict, .typeTag: id = type.value
            default: return id
            }
        }
        return 0
    }

    /// Bytes of a type and, for an array, its elements (those of nested arrays multiplied).
    func extent(of id: UInt32, depth: Int = 0) -> (size: Int, count: Int) {
        let id = resolve(id)
        let type = raw(id)
        switch type.kind {
        case .integer, .structure, .union, .enumeration, .enumeration64, .float: return (Int(type.value), 1)
        case .pointer: return (8, 1)
        case .array where depth < 8:
            let element = extent(of: type.word(12), depth: depth + 1)
            let count = Int(type.word(20))
            return (element.size &* count, element.count &* count)
        default: return (0, 1)
        }
    }

    /// The type of an array's elements, through arrays of arrays; the type itself when it is no array.
    func elementType(of id: UInt32) -> UInt32 {
        var id = resolve(id)
        for _ in 0..<8 {
            let type = raw(id)
            guard type.kind == .array else { break }
            id = resolve(type.word(12))
        }
        return id
    }

    private func name(at offset: UInt32) -> String {
        if let base = base.first, Int(offset) < firstName { return base.name(at: offset) }
        let start = stringStart + Int(offset) - firstName
        guard start < stringEnd else { return "" }
        return String(decoding: bytes[start..<stringEnd].prefix(256).prefix { $0 != 0 }, as: UTF8.self)
    }

    private static func word(_ bytes: [UInt8], _ at: Int) -> UInt32 {
        UInt32(bytes[at]) | UInt32(bytes[at + 1]) << 8 | UInt32(bytes[at + 2]) << 16 | UInt32(bytes[at + 3]) << 24
    }
}
