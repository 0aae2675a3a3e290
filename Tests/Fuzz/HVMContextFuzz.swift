import GuestMemory

/// Xen's records of the dead vCPUs.
@_cdecl("LLVMFuzzerTestOneInput")
public func fuzzHVMContext(_ data: UnsafePointer<UInt8>, _ size: Int) -> Int32 {
    // The fuzzer lends `size` bytes for the call.
    _ = unsafe try? HVMContext.parse(Array(UnsafeBufferPointer(start: data, count: size)))
    return 0
}
