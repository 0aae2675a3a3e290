/// Compressed pages: the first byte says how, and any others become a page or a fault.
@_cdecl("LLVMFuzzerTestOneInput")
public func fuzzDecompression(_ data: UnsafePointer<UInt8>, _ size: Int) -> Int32 {
    // The fuzzer lends `size` bytes for the call.
    let bytes = unsafe Array(UnsafeBufferPointer(start: data, count: size))
    guard let first = bytes.first else { return 0 }
    let format: CompressionFormat = first % 3 == 0 ? .lzo : first % 3 == 1 ? .lz4 : .zstd
    let page = try? PageDecompressor().page(from: Array(bytes.dropFirst()), format)
    precondition(page == nil || page?.count == 4096)
    return 0
}
