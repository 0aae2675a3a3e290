import DumpSource
import GuestMemory
import Testing

/// ELF dumps as QEMU, makedumpfile and a crash kernel write them, and files that only look like one.
@Suite struct FlatDumpTests {
    struct Segment {
        var start: UInt64
        var frames: Int
        /// Frames behind them that are in memory only.
        var omitted = 0
        /// Where its bytes are; behind those of the segment before it when nil.
        var offset: UInt64?
    }

    /// A core with the given segments, each filled with bytes that tell where they belong.
    static func core(_ segments: [Segment], notes: [UInt8] = [], machine: UInt8 = 62, count: UInt16? = nil) -> [UInt8] {
        let headers = segments.count + 1
        var file: [UInt8] = [0x7f, 0x45, 0x4c, 0x46, 2, 1, 1] + Array(repeating: 0, count: 9)
        file += [4, 0, machine, 0] + UInt32(1).littleEndianBytes + UInt64(0).littleEndianBytes
        file += UInt64(64).littleEndianBytes + UInt64(0).littleEndianBytes + UInt32(0).littleEndianBytes
        file += UInt16(64).littleEndianBytes + UInt16(56).littleEndianBytes + (count ?? UInt16(headers)).littleEndianBytes
        file += Array(repeating: 0, count: 6)
        var offset = UInt64(64 + 56 * headers)
        file += UInt32(4).littleEndianBytes + UInt32(0).littleEndianBytes + offset.littleEndianBytes
        file += Array(repeating: 0, count: 16)
        for _ in 0..<2 { file += UInt64(notes.count).littleEndianBytes }
        file += UInt64(0).littleEndianBytes
        offset += UInt64(notes.count)
        for segment in segments {
            let size = UInt64(segment.frames * FrameNumber.size)
            file += UInt32(1).littleEndianBytes + UInt32(0).littleEndianBytes + (segment.offset ?? offset).littleEndianBytes
            file += UInt64(0).littleEndianBytes + segment.start.littleEndianBytes + size.littleEndianBytes
            file += (size + UInt64(segment.omitted * FrameNumber.size)).littleEndianBytes + UInt64(0).littleEndianBytes
            offset += size
        }
        file += notes
        for segment in segments {
            for frame in 0..<segment.frames { file += page(segment.start >> 12 + UInt64(frame)) }
        }
        return file
    }

    @Test func readsFromTheSegmentOfAnAddress() throws {
        try withDump(Self.core([Segment(start: 0x10_0000, frames: 3), Segment(start: 0x1000, frames: 2)])) { dump throws in
            #expect(try dump.bytes(at: 0x1ff8, count: 8) == Array(page(1).suffix(8)))
            #expect(try dump.bytes(at: 0x10_2000, count: 4096) == page(0x102))
            #expect(dump.frameLimit == FrameNumber(0x103))
            #expect(dump.omittedPages == .none)
            // Twice, for the second time comes from the cache.
            #expect(try dump.bytes(at: 0x1ff8, count: 8) == Array(page(1).suffix(8)))
        }
    }

    @Test func copiesFramesInTheirOrder() throws {
        try withDump(Self.core([Segment(start: 0x1000, frames: 2), Segment(start: 0x10_0000, frames: 3)])) { dump throws in
            let wanted: [UInt64] = [0x101, 0x102, 1, 2, 0x100]
            #expect(try dump.copy(wanted) == wanted.flatMap(page))
        }
    }

    /// As many that one thread would not do.
    @Test func manyScatteredFramesComeInTheirOrder() throws {
        try withDump(Self.core([Segment(start: 0x1000, frames: 1000)])) { dump throws in
            let frames = (0..<UInt64(1000)).map { $0 * 377 % 1000 + 1 }
            #expect(try dump.copy(frames) == frames.flatMap(page))
            var missing = frames
            missing[900] = 5000
            #expect(throws: MemoryFault(.notInDump, at: FrameNumber(5000).address)) { try dump.copy(missing) }
        }
    }

    @Test func saysWhatIsNotThere() throws {
        try withDump(Self.core([Segment(start: 0x1000, frames: 2)])) { dump throws in
            for address in [0, 0xfff, 0x3000, UInt64.max - 7] {
                #expect(throws: MemoryFault.self) { try dump.bytes(at: address, count: 1) }
            }
            #expect(throws: MemoryFault.self) { try dump.copy([1, 2, 3]) }
            #expect(throws: MemoryFault.self) { try dump.copy([1 << 52 - 1]) }
        }
    }

    @Test func aFileThatWasCutShortLacksItsEndOnly() throws {
        try withDump(Self.core([Segment(start: 0x1000, frames: 2)]).dropLast(100)) { dump throws in
            #expect(try dump.bytes(at: 0x1000, count: 4096) == page(1))
            #expect(try dump.bytes(at: 0x2000, count: 8) == Array(page(2).prefix(8)))
            #expect(throws: MemoryFault(.notInDump, at: PhysicalAddress(0x2ff8))) { try dump.bytes(at: 0x2ff8, count: 8) }
        }
    }

    /// makedumpfile -E leaves the end of a segment out of the file.
    @Test func pagesThatWereLeftOutAreMissing() throws {
        let segments = [Segment(start: 0x1000, frames: 1, omitted: 2), Segment(start: 0x4000, frames: 1)]
        try withDump(Self.core(segments)) { dump throws in
            #expect(dump.omittedPages == .unknownKinds)
            #expect(throws: MemoryFault(.notInDump, at: PhysicalAddress(0x2000))) { try dump.bytes(at: 0x2000, count: 8) }
            #expect(try dump.copy([1, 4]) == page(1) + page(4))
        }
    }

    /// A crash kernel has the dead one's image twice.
    @Test func memoryThatIsThereTwiceIsRead() throws {
        let segments = [
            Segment(start: 0x2000, frames: 2), Segment(start: 0x1000, frames: 2), Segment(start: 0x1000, frames: 4),
        ]
        try withDump(Self.core(segments)) { dump throws in
            #expect(try dump.copy([1, 2, 3, 4]) == [1, 2, 3, 4].flatMap(page))
        }
    }

    /// With more segments than fit into the header their number is in the first section.
    static func core(_ segments: [Segment], countInSection count: UInt32) -> [UInt8] {
        let file = core(segments, count: 0xffff)
        return file.with(UInt64(file.count), at: 40) + [UInt8]().padded(to: 64).with(count, at: 44)
    }

    @Test func theNumberOfSegmentsCanBeInASection() throws {
        let file = Self.core([Segment(start: 0x1000, frames: 1)], countInSection: 2)
        try withDump(file) { dump throws in #expect(try dump.copy([1]) == page(1)) }
    }

    private static let refused: [NoDump] = [
        NoDump(Array(core([Segment(start: 0x1000, frames: 1)]).prefix(63)), "not the core of a 64-bit x86 machine"),
        NoDump(core([Segment(start: 0x1000, frames: 1)], machine: 183), "not the core of a 64-bit x86 machine"),
        NoDump(Array(core([Segment(start: 0x1000, frames: 1)]).prefix(100)), "the headers of its segments"),
        NoDump(core([Segment(start: 0x1000, frames: 1)], count: 60_000), "the headers of its segments"),
        NoDump(core([Segment(start: 0x1000, frames: 1)], count: 0xffff), "its number of segments is missing"),
        NoDump(core([Segment(start: 0x1000, frames: 1)], countInSection: .max), "claims 4294967295 segments"),
        NoDump(core([Segment(start: UInt64.max - 4095, frames: 2)]), "without memory"),
        NoDump(core([Segment(start: 0x1000, frames: 1, offset: 1 << 62)]), "without memory"),
        NoDump(core([]), "without memory"), NoDump([], "neither an ELF core nor a kdump"),
        NoDump(Array("KDUMP".utf8), "neither an ELF core"),
    ]

    @Test(arguments: refused)
    func saysWhyAFileIsNoDump(file: NoDump) throws { try file.check() }
}
