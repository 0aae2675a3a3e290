import KernelTypes

/// BTF: any bytes give types or an error, and each type can be asked for anything.
@_cdecl("LLVMFuzzerTestOneInput")
public func fuzzTypeTable(_ data: UnsafePointer<UInt8>, _ size: Int) -> Int32 {
    // The fuzzer lends `size` bytes for the call.
    let bytes = unsafe Array(UnsafeBufferPointer(start: data, count: size))
    guard let table = try? TypeTable(btf: bytes) else { return 0 }
    for name in ["task_struct", "a", "in", "outer", "list_head"] {
        guard let structure = try? table.structure(name) else { continue }
        _ = structure.size
        for path in ["a", "in.x", "in.y", "b", "next", "pid", ""] {
            if let field = structure.optional(path) { _ = field.element(1) }
        }
        for offset in 0..<64 { _ = table.memberPath(in: structure, at: offset) }
    }
    _ = table.enumerator("PG_slab")
    return 0
}
