/// Structures of which it does not matter where their fields lie: each field has eight bytes, and as many behind it for one that is the head of a list.
public struct SyntheticStructures {
    /// A field, and the fields in it where it is a structure itself.
    private struct Field {
        var name: String
        var inner: [Field] = []

        mutating func add(_ path: ArraySlice<String>) -> Bool {
            guard let first = path.first else { return false }
            guard let index = inner.firstIndex(where: { $0.name == first }) else {
                inner.append(Field(name: first))
                _ = inner[inner.count - 1].add(path.dropFirst())
                return true
            }
            return inner[index].add(path.dropFirst())
        }

        /// With what is behind it.
        var size: UInt32 { inner.isEmpty ? 16 : inner.reduce(0) { $0 + $1.size } }
    }

    private var structures: [Field] = []
    private var values: [(name: String, value: UInt32)] = []

    public init() {}

    /// Adds a structure, and a field of it, given as names joined by dots through structures in it.
    /// - Returns: whether there was no such field yet.
    @discardableResult
    public mutating func add(_ structure: String, _ path: String = "") -> Bool {
        let index = structures.firstIndex { $0.name == structure } ?? structures.count
        if index == structures.count { structures.append(Field(name: structure)) }
        let parts = path.split(separator: ".").map(String.init)
        return structures[index].add(parts[...])
    }

    public mutating func add(enumerator name: String, _ value: UInt32) { values.append((name, value)) }

    /// Their BTF section.
    public var types: [UInt8] {
        var types = SyntheticTypes()
        let word = types.integer("unsigned long", size: 8)
        func define(_ field: Field, named name: String) -> UInt32 {
            var offset: UInt32 = 0
            var members: [(name: String, type: UInt32, offset: UInt32)] = []
            for inner in field.inner {
                let type = inner.inner.isEmpty ? word : define(inner, named: "\(name).\(inner.name)")
                members.append((inner.name, type, offset))
                offset += inner.size
            }
            return types.structure(name, size: offset, members)
        }
        for structure in structures { _ = define(structure, named: structure.name) }
        _ = types.enumeration(values)
        return types.bytes
    }
}
