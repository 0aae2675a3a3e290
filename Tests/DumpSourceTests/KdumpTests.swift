import CCompression
import DumpSource
import GuestMemory
import Testing

/// Dumps in the kdump format, and files that only look like one.
@Suite struct KdumpTests {
    enum Compression: CaseIterable, Sendable {
        case none, zlib, lzo, snappy, zstd

        var flag: UInt32 {
            switch self {
            case .none: 0
            case .zlib: 1
            case .lzo: 2
            case .snappy: 4
            case .zstd: 0x20
            }
        }

        func compress(_ bytes: [UInt8]) -> [UInt8] {
            if self == .none { return bytes }
            var result = [UInt8](repeating: 0, count: 2 * bytes.count)
            var work = [UInt8](repeating: 0, count: 16 * 8192 + 64)
            let size: Int = unsafe result.withUnsafeMutableBytes { target in
                // Twice the size is more than any of them needs for what cannot be compressed, and lzo1x_1 has the work memory that it wants.
                unsafe bytes.withUnsafeBytes { source in
                    switch self {
                    case .none: return 0
                    case .zlib:
                        var size = uLongf(target.count)
                        _ = unsafe CCompression.compress(target.baseAddress, &size, source.baseAddress, uLong(source.count))
                        return Int(size)
                    case .lzo:
                        var size = lzo_uint(target.count)
                        _ = unsafe lzo1x_1_compress(
                            source.baseAddress, lzo_uint(source.count), target.baseAddress, &size, &work)
                        return Int(size)
                    case .snappy:
                        var size = target.count
                        _ = unsafe snappy_compress(source.baseAddress, source.count, target.baseAddress, &size)
                        return size
                    case .zstd:
                        return unsafe ZSTD_compress(target.baseAddress, target.count, source.baseAddress, source.count, 1)
                    }
                }
            }
            return Array(result.prefix(size))
        }
    }

    static let block = 4096
    /// Frames that its dumps have, of `frames`: more than one word of the map, with holes.
    static let present: [UInt64] = [1, 2, 63, 64, 70, 127, 600, 601]
    static let frames: UInt64 = 700
    static let notes = DumpNotesTests.vmCoreInfo("OSRELEASE=6.1.0\n")

    /// Where the descriptor of the first frame is: behind two headers and two maps.
    static let descriptors = 4 * block

    static func dump(_ compression: Compression, level: Int32 = 0) -> [UInt8] {
        var header = Array("KDUMP   ".utf8) + Int32(6).littleEndianBytes
        header = header.padded(to: block).with(UInt32(block), at: 428).with(UInt32(1), at: 432).with(UInt32(2), at: 436)
        header = header.with(UInt32(frames), at: 440)
        var sub = [UInt8]().padded(to: block).with(level, at: 8).with(frames, at: 96)
        sub = sub.with(UInt64(block + 128), at: 48).with(UInt64(notes.count), at: 56)
        sub.replaceSubrange(128..<128 + notes.count, with: notes)
        var map = [UInt8]().padded(to: block)
        for frame in present { map[Int(frame) / 8] |= 1 << (frame % 8) }
        var table: [UInt8] = []
        var data: [UInt8] = []
        let start = descriptors + present.count * 24
        for frame in present {
            let compressed = compression.compress(page(frame))
            table += UInt64(start + data.count).littleEndianBytes + UInt32(compressed.count).littleEndianBytes
            table += compression.flag.littleEndianBytes + UInt64(0).littleEndianBytes
            data += compressed
        }
        // The map of what is memory has all bits.
        return header + sub + Array(repeating: 0xff, count: block) + map + table + data
    }

    @Test(arguments: Compression.allCases)
    func readsFrames(compression: Compression) throws {
        try withDump(Self.dump(compression)) { dump throws in
            #expect(try dump.copy(Self.present) == Self.present.flatMap(page))
            #expect(try dump.bytes(at: 70 << 12 + 100, count: 8) == Array(page(70)[100..<108]))
            #expect(dump.frameLimit == FrameNumber(Self.frames))
            #expect(dump.vmCoreInfoNote == Array("OSRELEASE=6.1.0\n".utf8))
            #expect(dump.omittedPages == .kinds([]))
            for frame: UInt64 in [0, 3, 62, 65, 128, 599, 602, Self.frames, 1 << 40] {
                #expect(throws: MemoryFault(.notInDump, at: FrameNumber(frame).address)) { try dump.copy([frame]) }
            }
        }
    }

    /// As many that one thread would not do.
    @Test func manyFramesComeInTheirOrder() throws {
        try withDump(Self.dump(.lzo)) { dump throws in
            let wanted = (0..<300).map { Self.present[$0 * 5 % Self.present.count] }
            #expect(try dump.copy(wanted) == wanted.flatMap(page))
        }
    }

    @Test func saysWhatWasLeftOut() throws {
        try withDump(Self.dump(.zlib, level: 31)) { dump throws in
            #expect(dump.omittedPages == .kinds([.zeros, .cache, .privateCache, .processes, .free]))
        }
    }

    /// Neither what is behind the end of a file nor what cannot be decompressed is ever taken for zeros.
    @Test(arguments: Compression.allCases)
    func aFileThatWasCutShortLacksItsEndOnly(compression: Compression) throws {
        try withDump(Self.dump(compression).dropLast(1)) { dump throws in
            let whole = Self.present.dropLast()
            #expect(try dump.copy(Array(whole)) == whole.flatMap(page))
            #expect(throws: MemoryFault(.notInDump, at: FrameNumber(601).address)) { try dump.copy([601]) }
        }
        try withDump(Array(Self.dump(compression).prefix(Self.descriptors + 30))) { dump throws in
            #expect(throws: MemoryFault(.notInDump, at: FrameNumber(1).address)) { try dump.copy([1]) }
            #expect(throws: MemoryFault(.notInDump, at: FrameNumber(2).address)) { try dump.copy([2]) }
        }
    }

    @Test(arguments: [Compression.zlib, .lzo, .snappy, .zstd])
    func aPageThatIsNotCompressedAsItClaimsIsDamaged(compression: Compression) throws {
        let other = compression == .zlib ? Compression.lzo : .zlib
        try withDump(Self.dump(compression).with(other.flag, at: Self.descriptors + 12)) { dump throws in
            let fault = #expect(throws: MemoryFault.self) { try dump.copy([1]) }
            #expect(fault?.reason == .damaged("a page of the dump that cannot be decompressed"))
            #expect(try dump.copy([2]) == page(2))
        }
    }

    @Test func aDescriptorThatMakesNoSenseCostsItsPage() throws {
        let whole = Self.dump(.zstd)
        let place = Self.descriptors
        for file in [
            whole.with(UInt32(0), at: place + 8), whole.with(UInt32(4097), at: place + 8),
            whole.with(UInt32(3), at: place + 12),
            whole.with(UInt32(0), at: place + 12), whole.with(UInt64.max, at: place), whole.with(UInt64(0), at: place),
            whole.with(UInt64.max - 4096, at: place),
        ] {
            try withDump(file) { dump throws in
                #expect(throws: MemoryFault.self) { try dump.copy([1]) }
                #expect(try dump.copy([2]) == page(2))
            }
        }
    }

    private static let refused: [NoDump] = [
        NoDump(Array(dump(.zlib).prefix(400)), "header was cut short"),
        NoDump(Array(dump(.zlib).prefix(4100)), "header was cut short"),
        NoDump(Array(dump(.zlib).prefix(3 * block)), "map of frames was cut short"),
        NoDump(dump(.zlib).with(UInt32(16384), at: 428), "not of a 64-bit x86 machine"),
        NoDump(dump(.zlib).with(Int32(0), at: 8), "not of a 64-bit x86 machine"),
        NoDump(dump(.zlib).with(Int32(1), at: block + 12), "makedumpfile --reassemble"),
        NoDump(dump(.zlib).with(UInt64.max, at: block + 96), "18446744073709551615 frames in 2 blocks"),
        NoDump(dump(.zlib).with(UInt64(0), at: block + 96), "0 frames"),
        NoDump(dump(.zlib).with(UInt64(40_000), at: block + 96), "40000 frames in 2 blocks"),
        NoDump(dump(.zlib).with(UInt32.max, at: 432), "map of frames was cut short"),
        NoDump(dump(.zlib).with(UInt32(0), at: 436), "700 frames in 0 blocks"),
    ]

    @Test(arguments: refused)
    func saysWhyAFileIsNoDump(file: NoDump) throws { try file.check() }
}
