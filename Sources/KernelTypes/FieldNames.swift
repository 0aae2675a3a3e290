extension TypeTable {
    /// What stands at an offset of a structure, in C's words: `thread.fpu.fpstate`, `rlim[3]`; nil outside of its members.
    ///
    /// Of a union the first member counts.
    public func memberPath(in structure: Structure, at offset: Int) -> String? {
        memberPath(in: structure.id, at: offset, depth: 0)
    }

    private func memberPath(in id: UInt32, at offset: Int, depth: Int) -> String? {
        guard depth < 16 else { return nil }
        for member in members(of: resolve(id)) {
            let start = member.bitOffset / 8
            let (size, count) = extent(of: member.type)
            guard offset >= start, offset < start + max(size, 1) else { continue }
            let elementSize = count > 0 ? size / count : size
            var name = member.name
            var inside = offset - start
            if count > 1, elementSize > 0 {
                name += "[\(inside / elementSize)]"
                inside %= elementSize
            }
            guard let rest = memberPath(in: elementType(of: member.type), at: inside, depth: depth + 1) else { return name }
            return name.isEmpty ? rest : name + "." + rest
        }
        return nil
    }
}
