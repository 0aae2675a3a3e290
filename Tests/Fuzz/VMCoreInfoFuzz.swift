import KernelTypes

/// VMCOREINFO: any text gives lines, and page tables or an error.
@_cdecl("LLVMFuzzerTestOneInput")
public func fuzzVMCoreInfo(_ data: UnsafePointer<UInt8>, _ size: Int) -> Int32 {
    // The fuzzer lends `size` bytes for the call.
    let info = unsafe VMCoreInfo(text: Array(UnsafeBufferPointer(start: data, count: size)))
    _ = info.release
    _ = info.symbol("swapper_pg_dir")
    _ = info.number("phys_base")
    _ = try? info.pageTables()
    return 0
}
