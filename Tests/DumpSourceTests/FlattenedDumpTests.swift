import DumpSource
import GuestMemory
import Testing

/// Dumps as they are written to a pipe.
@Suite struct FlattenedDumpTests {
    static let header = (Array("makedumpfile".utf8) + [0, 0, 0, 0]).padded(to: 4096).with(UInt64(1).byteSwapped, at: 16)
        .with(UInt64(1).byteSwapped, at: 24)

    static func piece(_ offset: Int, _ bytes: [UInt8]) -> [UInt8] {
        UInt64(offset).bigEndianBytes + UInt64(bytes.count).bigEndianBytes + bytes
    }

    static let end = claim(.max, .max)

    /// Cut into pieces, the last one first; zeros of a page or more are left out, as a rearranged file would have holes there.
    static func flattened(_ dump: [UInt8], size: Int = 1000) -> [UInt8] {
        var file = header
        for start in stride(from: 0, to: dump.count, by: size).reversed() {
            let bytes = Array(dump[start..<min(start + size, dump.count)])
            if bytes.contains(where: { $0 != 0 }) { file += piece(start, bytes) }
        }
        return file + end
    }

    @Test func readsADumpInPieces() throws {
        try withDump(Self.flattened(KdumpTests.dump(.lzo, level: 1))) { dump throws in
            #expect(try dump.copy(KdumpTests.present) == KdumpTests.present.flatMap(page))
            #expect(dump.omittedPages == .kinds(.zeros))
            #expect(dump.vmCoreInfoNote == Array("OSRELEASE=6.1.0\n".utf8))
            #expect(throws: MemoryFault.self) { try dump.copy([3]) }
        }
        try withDump(Self.flattened(FlatDumpTests.core([FlatDumpTests.Segment(start: 0x1000, frames: 3)]))) { dump throws in
            #expect(try dump.copy([3, 1, 2]) == [3, 1, 2].flatMap(page))
        }
    }

    /// A piece that says where it is and how long, without its bytes.
    static func claim(_ offset: UInt64, _ count: UInt64) -> [UInt8] { offset.bigEndianBytes + count.bigEndianBytes }

    private static let refused: [NoDump] = [
        NoDump(header, "piece 1 is missing"), NoDump(Array(header.prefix(40)), "piece 1 is missing"),
        NoDump(Array(flattened(KdumpTests.dump(.zlib)).dropLast(1)), "is missing"),
        NoDump(Array((header + piece(0, [1, 2, 3])).dropLast(1)), "piece 1 of it is damaged"),
        NoDump(header + claim(0, .max), "piece 1 of it is damaged"),
        NoDump(header + claim(1 << 63, 1) + [0], "piece 1 of it is damaged"),
        NoDump(header + claim(0, 0), "piece 1 of it is damaged"),
        NoDump(header + piece(0, [1, 2]) + piece(1, [2, 3]) + end, "bytes twice"),
        NoDump(header + end, "neither an ELF core nor a kdump"),
    ]

    @Test(arguments: refused)
    func saysWhyAFileIsNoDump(file: NoDump) throws { try file.check() }
}
