import CCompression
import GuestMemory

/// A dump in the kdump format.
struct KdumpFile: DumpedFrames {
    let layout: KdumpLayout
    let bytes: DumpBytes

    /// How a page is compressed (diskdump_mod.h of makedumpfile).
    private enum Compression: UInt32 {
        case none = 0
        case zlib = 0x1
        case lzo = 0x2
        case snappy = 0x4
        case zstd = 0x20
    }

    var frameLimit: FrameNumber { FrameNumber(layout.frameLimit) }

    /// Each frame is decompressed by itself.
    func pieces(in frames: ArraySlice<FrameNumber>) -> Int { frames.count }

    func readInOrder(_ frames: ArraySlice<FrameNumber>, into buffer: UnsafeMutableRawBufferPointer) throws(MemoryFault) {
        var done = 0
        for frame in frames {
            // One slot for each of the frames, for which the caller has made room.
            try unsafe read(frame, into: UnsafeMutableRawBufferPointer(rebasing: buffer[done..<done + FrameNumber.size]))
            done += FrameNumber.size
        }
    }

    func read(_ address: PhysicalAddress, into buffer: UnsafeMutableRawBufferPointer) throws(MemoryFault) {
        if buffer.count == FrameNumber.size { return try unsafe read(address.frame, into: buffer) }
        var page = [UInt8](repeating: 0, count: FrameNumber.size)
        guard buffer.count <= page.count - address.offsetInFrame else { throw MemoryFault(.notInDump, at: address) }
        var fault: MemoryFault?
        unsafe page.withUnsafeMutableBytes { page in
            // A whole page, of which the wanted bytes lie inside.
            do throws(MemoryFault) {
                try unsafe read(address.frame, into: page)
                let wanted = address.offsetInFrame..<address.offsetInFrame + buffer.count
                unsafe buffer.copyMemory(from: UnsafeRawBufferPointer(rebasing: page[wanted]))
            } catch { fault = error }
        }
        if let fault { throw fault }
    }

    /// Reads a whole frame.
    private func read(_ frame: FrameNumber, into page: UnsafeMutableRawBufferPointer) throws(MemoryFault) {
        guard let place = layout.descriptor(of: frame) else { throw MemoryFault(.notInDump, at: frame.address) }
        // A file that was cut short lacks the end; one that makedumpfile could not finish (DUMP_DH_COMPRESSED_INCOMPLETE) has empty descriptors.
        guard let descriptor = bytes.bytes(at: place, count: KdumpLayout.descriptorSize) else {
            throw MemoryFault(.notInDump, at: frame.address)
        }
        // `struct page_desc`: offset, size, flags, and the kernel's flags of the page, which nobody needs.
        let offset: UInt64 = descriptor.number(at: 0)
        let size = Int(descriptor.number(at: 8, as: UInt32.self))
        guard offset != 0 else { throw MemoryFault(.notInDump, at: frame.address) }
        guard let compression = Compression(rawValue: descriptor.number(at: 12)) else {
            throw MemoryFault(.damaged("a page of the dump that is compressed in an unknown way"), at: frame.address)
        }
        // What does not get smaller is not compressed.
        guard size > 0, size <= FrameNumber.size, compression != .none || size == FrameNumber.size else {
            throw MemoryFault(.damaged("a page of the dump with \(size) bytes"), at: frame.address)
        }
        if compression == .none {
            guard unsafe bytes.fill(page, at: offset) else { throw MemoryFault(.notInDump, at: frame.address) }
            return
        }
        guard let compressed = bytes.bytes(at: offset, count: size) else { throw MemoryFault(.notInDump, at: frame.address) }
        guard unsafe Self.decompress(compressed, compression, into: page) else {
            throw MemoryFault(.damaged("a page of the dump that cannot be decompressed"), at: frame.address)
        }
    }

    /// Whether there was exactly a page in the bytes.
    private static func decompress(
        _ bytes: [UInt8], _ compression: Compression, into page: UnsafeMutableRawBufferPointer
    ) -> Bool {
        unsafe bytes.withUnsafeBytes { source in
            // Each function reads at most `source.count` bytes and writes at most `page.count`: lzo's is the safe one of its two.
            switch compression {
            case .none: return false
            case .zlib:
                var length = uLongf(page.count)
                return unsafe uncompress(page.baseAddress, &length, source.baseAddress, uLong(source.count)) == Z_OK
                    && length == page.count
            case .lzo:
                var length = lzo_uint(page.count)
                return unsafe lzo1x_decompress_safe(source.baseAddress, lzo_uint(source.count), page.baseAddress, &length, nil)
                    == LZO_E_OK && length == page.count
            case .snappy:
                var length = page.count
                return unsafe snappy_uncompress(source.baseAddress, source.count, page.baseAddress, &length) == SNAPPY_OK
                    && length == page.count
            case .zstd:
                return unsafe ZSTD_decompress(page.baseAddress, page.count, source.baseAddress, source.count) == page.count
            }
        }
    }
}
