/// Builds a BTF section for tests (Documentation/bpf/btf.rst).
public struct SyntheticTypes {
    private var strings: [UInt8] = [0]
    private var types: [UInt32] = []
    private var count: UInt32 = 0
    private var firstName = 0

    public init() {}

    /// The types of a module, which count on from the kernel's.
    public init(behind kernel: SyntheticTypes) {
        strings = []
        count = kernel.count
        firstName = kernel.strings.count
    }

    private mutating func string(_ text: String) -> UInt32 {
        if text.isEmpty { return 0 }
        defer { strings += Array(text.utf8) + [0] }
        return UInt32(firstName + strings.count)
    }

    private mutating func add(_ name: String, kind: UInt32, members: Int, value: UInt32, extra: [UInt32], flag: Bool = false)
        -> UInt32
    {
        types += [string(name), (flag ? 1 << 31 : 0) | kind << 24 | UInt32(members), value] + extra
        count += 1
        return count
    }

    /// An integer of `size` bytes.
    public mutating func integer(_ name: String, size: UInt32) -> UInt32 {
        add(name, kind: 1, members: 0, value: size, extra: [size * 8])
    }

    public mutating func pointer(to type: UInt32) -> UInt32 { add("", kind: 2, members: 0, value: type, extra: []) }

    public mutating func array(of type: UInt32, count: UInt32) -> UInt32 {
        add("", kind: 3, members: 0, value: 0, extra: [type, 0, count])
    }

    public mutating func typedef(_ name: String, of type: UInt32) -> UInt32 {
        add(name, kind: 8, members: 0, value: type, extra: [])
    }

    /// A structure; offsets are in bytes.
    public mutating func structure(_ name: String, size: UInt32, _ members: [(name: String, type: UInt32, offset: UInt32)])
        -> UInt32
    {
        let extra = members.flatMap { [string($0.name), $0.type, $0.offset * 8] }
        return add(name, kind: 4, members: members.count, value: size, extra: extra)
    }

    public mutating func enumeration(_ values: [(name: String, value: UInt32)]) -> UInt32 {
        add("", kind: 6, members: values.count, value: 4, extra: values.flatMap { [string($0.name), $0.value] })
    }

    /// A structure of bit fields; offsets are in bits.
    public mutating func bitFields(
        _ name: String, size: UInt32, _ members: [(name: String, type: UInt32, first: UInt32, bits: UInt32)]
    ) -> UInt32 {
        let extra = members.flatMap { [string($0.name), $0.type, $0.bits << 24 | $0.first] }
        return add(name, kind: 4, members: members.count, value: size, extra: extra, flag: true)
    }

    public var bytes: [UInt8] {
        let header: [UInt32] = [
            0xeb9f | 1 << 16, 24, 0, UInt32(types.count * 4), UInt32(types.count * 4), UInt32(strings.count),
        ]
        return (header + types).flatMap { word in (0..<4).map { UInt8(truncatingIfNeeded: word >> UInt32($0 * 8)) } } + strings
    }
}
