import DumpSource
import GuestMemory
import Testing

/// What `xl dump-core` writes, and files that only look like it.
@Suite struct XenCoreTests {
    /// - Parameters:
    ///   - numbers: of the pages, in the order that they have in the file.
    ///   - table: what is said of them; the numbers when nil. Two words for each page when `tableName` is `.xen_p2m`.
    static func core(
        _ numbers: [UInt64], table: [UInt64]? = nil, contexts: [UInt8] = [], tableName: String = ".xen_pfn",
        pageBytes: Int? = nil
    ) -> [UInt8] {
        let names = [".shstrtab", ".xen_prstatus", ".xen_pages", tableName]
        var strings: [UInt8] = [0]
        for name in names { strings += Array(name.utf8) + [0] }
        var pages: [UInt8] = []
        for number in numbers { pages += number == UInt64.max ? [UInt8](repeating: 0, count: 4096) : page(number) }
        var entries: [UInt8] = []
        for number in table ?? numbers { entries += number.littleEndianBytes }
        let contents: [[UInt8]] = [strings, contexts, pages, entries]
        var file: [UInt8] = [0x7f, 0x45, 0x4c, 0x46, 2, 1, 1] + Array(repeating: 0, count: 9)
        file += [4, 0, 62, 0] + UInt32(1).littleEndianBytes + UInt64(0).littleEndianBytes + UInt64(0).littleEndianBytes
        file += UInt64(64).littleEndianBytes + UInt32(0).littleEndianBytes
        for value: UInt16 in [64, 56, 0, 64, 5, 1] { file += value.littleEndianBytes }
        file += Array(repeating: 0, count: 64)
        var offset = 64 * 6
        var name = 1
        for (index, bytes) in contents.enumerated() {
            let size = index == 2 ? pageBytes ?? bytes.count : bytes.count
            let header = [UInt8]().padded(to: 64).with(UInt32(name), at: 0).with(UInt32(1), at: 4)
            file += header.with(UInt64(offset), at: 24).with(UInt64(size), at: 32)
            offset += bytes.count
            name += names[index].utf8.count + 1
        }
        return file + contents.joined()
    }

    @Test func readsPagesInWhateverOrderTheyAre() throws {
        // The last one is what Xen fills the file up with when the domain had less memory.
        try withDump(Self.core([5, 6, 7, 0x100, 2, 1, .max])) { dump throws in
            let wanted: [UInt64] = [1, 2, 5, 6, 7, 0x100]
            #expect(try dump.copy(wanted) == wanted.flatMap(page))
            #expect(try dump.bytes(at: 0x6ff0, count: 16) == Array(page(6).suffix(16)))
            #expect(dump.frameLimit == FrameNumber(0x101))
            #expect(dump.omittedPages == .none)
            for frame: UInt64 in [0, 3, 8, 0x101] {
                #expect(throws: MemoryFault(.notInDump, at: FrameNumber(frame).address)) { try dump.copy([frame]) }
            }
        }
    }

    @Test func takesTheRegistersOfTheCPUs() throws {
        func context(_ values: [Int: UInt64]) -> [UInt8] {
            values.reduce([UInt8]().padded(to: 5168)) { $0.with($1.value, at: $1.key) }
        }
        let inKernel = context([
            520: 15, 632: 99, 648: 0xffff_ffff_8100_0000, 656: 0x10, 664: 0x46, 672: 0xffff_c900_0000_1000,
            680: 0x18,
            5008: 0x1234_5000, 5144: 0x7f00_0000_1000, 5152: 0xffff_8880_0000_0000, 5160: 0x7f00_0000_2000,
        ])
        let inUserMode = context([
            648: 0x40_1000, 656: 0x33, 5152: 0xffff_8880_0001_0000, 5160: 0x7f00_0000_3000,
        ])
        try withDump(Self.core([1], contexts: inKernel + inUserMode)) { dump throws in
            #expect(dump.cpus.map(\.number) == [0, 1])
            let first = try #require(dump.cpus.first)
            #expect(first.general.count == 15 && first.general.first == 15 && first.general.last == 99)
            #expect(!first.isInUserMode && first.instructionPointer == 0xffff_ffff_8100_0000)
            #expect(first.pageTableRoot == 0x1234_5000 && first.fsBase == 0x7f00_0000_1000)
            #expect(first.gsBase == 0xffff_8880_0000_0000 && first.shadowGSBase == 0x7f00_0000_2000)
            #expect(first.codeSegment == 0x10 && first.stackSegment == 0x18 && first.flags == 0x46)
            #expect(first.fxsave.isEmpty)
            let last = try #require(dump.cpus.last)
            #expect(last.isInUserMode && last.gsBase == 0x7f00_0000_3000)
        }
    }

    @Test func takesTheMachineFramesOfAPVDomain() throws {
        let inKernel = [UInt8]().padded(to: 5168).with(UInt64(4), at: 512).with(UInt16(0xe033), at: 656)
            .with(UInt64(7), at: 5152)
        let pages: [UInt64] = [3, 1, 2]
        try withDump(
            Self.core(pages, table: [3, 0x900, 1, 0x700, 2, .max], contexts: inKernel, tableName: ".xen_p2m")
        ) { dump throws in
            #expect(try dump.copy(pages) == pages.flatMap(page))
            let machine = try #require(dump.machineFrames)
            #expect((0..<5).map { machine.machineFrame(of: FrameNumber($0))?.rawValue } == [nil, 0x700, nil, 0x900, nil])
            // Ring 3, and yet the kernel.
            #expect(dump.cpus.map(\.gsBase) == [7])
        }
        try withDump(Self.core(pages)) { dump throws in #expect(dump.machineFrames == nil) }
    }

    private static let refused: [NoDump] = [
        NoDump(core([1, 2, 1]), "page 1 twice"), NoDump(core([1, 2], table: [1, 2, 3]), "3 numbers of pages"),
        NoDump(core([1, 2], table: [1]), "1 numbers of pages"), NoDump(core([1], pageBytes: 4000), "4000 bytes of pages"),
        NoDump(core([1], table: [1 << 40]), "page of the number 1099511627776"),
        NoDump(core([1], table: [.max - 1]), "page of the number"),
        NoDump(core([], table: []), "without memory"), NoDump(core([.max]), "without memory"),
        NoDump(core([1, 2], tableName: ".xen_p2m"), "1 numbers of pages"),
        NoDump(
            core([1], table: [1 << 30, 5], tableName: ".xen_p2m"), "PV domain of 1 pages with one of the number 1073741824"),
        NoDump(core([1], tableName: ".other"), "neither a section .xen_pfn nor .xen_p2m"),
        NoDump(Array(core([1, 2]).dropLast(1)), "cut short"), NoDump(Array(core([1]).prefix(500)), "cut short"),
    ]

    @Test(arguments: refused)
    func saysWhyAFileIsNoDump(file: NoDump) throws { try file.check() }
}
