import Glibc

/// The header of a dump: the input is a file.
private let file: Int32 = unsafe fileno(tmpfile())

@_cdecl("LLVMFuzzerTestOneInput")
public func fuzzFlatELF(_ data: UnsafePointer<UInt8>, _ size: Int) -> Int32 {
    guard ftruncate(file, 0) == 0, unsafe pwrite(file, data, size, 0) == size else { return 0 }
    guard let layout = FlatELF(descriptor: file) else { return 0 }
    for segment in layout.segments {
        _ = layout.offset(of: segment.start, count: 4096)
        _ = layout.offset(of: segment.end &- 1, count: 1)
        _ = layout.offset(of: segment.end, count: 8)
    }
    return 0
}
