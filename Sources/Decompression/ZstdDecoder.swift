import CZstd

/// Frames of Zstandard, read by libzstd.
///
/// Safe although it owns a C object: the context is made once, never handed out, used by one call at a time, and freed with `self`.
@safe final class ZstdDecoder {
    private let context: OpaquePointer

    init?() {
        guard let made = unsafe ZSTD_createDCtx() else { return nil }
        unsafe context = made
    }

    deinit { unsafe _ = ZSTD_freeDCtx(context) }

    func decode(_ bytes: [UInt8]) throws(CompressionFault) -> [UInt8] {
        var code = 0
        let page = unsafe [UInt8](unsafeUninitializedCapacity: PageDecompressor.pageSize) { room, count in
            // libzstd writes into `room` and reads from `bytes` within the sizes that it is given. What it says to have written, when it is no
            // error, is at most what there was room for, and initialized.
            unsafe code = bytes.withUnsafeBytes { source in
                unsafe ZSTD_decompressDCtx(context, room.baseAddress, room.count, source.baseAddress, source.count)
            }
            count = ZSTD_isError(code) == 0 ? min(code, room.count) : 0
        }
        guard ZSTD_isError(code) == 0 else {
            // The name is a constant of the library.
            throw CompressionFault("zstd: \(unsafe String(cString: ZSTD_getErrorName(code)))")
        }
        return page
    }
}
