/// The headers of an ELF core file of x86-64 (elf(5)).
struct ELFCore {
    /// A program header: a piece of memory, or notes.
    struct Segment {
        var kind: UInt32
        var offset: UInt64
        var physicalAddress: UInt64
        var sizeInFile: UInt64
        var sizeInMemory: UInt64
    }

    struct Section {
        var name: String
        var offset: UInt64
        var size: UInt64
    }

    let segments: [Segment]
    let sections: [Section]

    static let loadSegment: UInt32 = 1
    static let noteSegment: UInt32 = 4

    /// Segments that are believed (14 MiB of headers). QEMU writes one for each block of memory, makedumpfile one for each stretch between pages that it left out.
    private static let segmentLimit = 1 << 18
    private static let sectionLimit = 64

    private static let headerSize = 64
    private static let segmentHeaderSize = 56
    private static let sectionHeaderSize = 64

    /// - Returns: nil for anything but an ELF core file.
    /// - Throws: what makes it one that cannot be read.
    init?(_ file: DumpBytes) throws(DumpError) {
        guard let magic = file.bytes(at: 0, count: 4), magic == [0x7f, 0x45, 0x4c, 0x46] else { return nil }
        guard let header = file.bytes(at: 0, count: Self.headerSize),
            header[4..<7].elementsEqual([2, 1, 1]),  // 64 bits, little-endian, version 1
            header.number(at: 16, as: UInt16.self) == 4,  // ET_CORE
            header.number(at: 18, as: UInt16.self) == 62  // EM_X86_64
        else { throw DumpError(description: "it is an ELF file, but not the core of a 64-bit x86 machine") }
        let sectionOffset: UInt64 = header.number(at: 40)
        let sectionCount = Int(header.number(at: 60, as: UInt16.self))
        var segmentCount = Int(header.number(at: 56, as: UInt16.self))
        if segmentCount == 0xffff {
            // PN_XNUM: there are more than fit, and the number is in the first section's sh_info.
            guard sectionOffset > 0, let first = file.bytes(at: sectionOffset, count: Self.sectionHeaderSize) else {
                throw DumpError(description: "its number of segments is missing")
            }
            segmentCount = Int(first.number(at: 44, as: UInt32.self))
        }
        guard segmentCount <= Self.segmentLimit else {
            throw DumpError(description: "it claims \(segmentCount) segments")
        }
        segments = try Self.segments(segmentCount, in: file, header)
        sections = try Self.sections(sectionCount, at: sectionOffset, in: file, header)
    }

    private static func segments(_ count: Int, in file: DumpBytes, _ header: [UInt8]) throws(DumpError) -> [Segment] {
        guard count > 0 else { return [] }
        guard header.number(at: 54, as: UInt16.self) == UInt16(segmentHeaderSize),
            let table = file.bytes(at: header.number(at: 32), count: count * segmentHeaderSize)
        else { throw DumpError(description: "the headers of its segments are damaged or were cut off") }
        return (0..<count).map { index in
            let entry = index * segmentHeaderSize
            return Segment(
                kind: table.number(at: entry), offset: table.number(at: entry + 8),
                physicalAddress: table.number(at: entry + 24), sizeInFile: table.number(at: entry + 32),
                sizeInMemory: table.number(at: entry + 40))
        }
    }

    /// Only Xen's dumps say something with their sections: in others a table that is not there is no fault.
    private static func sections(_ count: Int, at offset: UInt64, in file: DumpBytes, _ header: [UInt8]) throws(DumpError)
        -> [Section]
    {
        guard count > 0, count <= sectionLimit, header.number(at: 58, as: UInt16.self) == UInt16(sectionHeaderSize),
            let table = file.bytes(at: offset, count: count * sectionHeaderSize)
        else { return [] }
        func entry(_ index: Int) -> (name: Int, offset: UInt64, size: UInt64) {
            let start = index * sectionHeaderSize
            return (
                Int(table.number(at: start, as: UInt32.self)), table.number(at: start + 24), table.number(at: start + 32)
            )
        }
        let namesIndex = Int(header.number(at: 62, as: UInt16.self))
        guard namesIndex < count else { return [] }
        let place = entry(namesIndex)
        // xg_core.c of Xen keeps the names in less than 64 KiB.
        guard place.size <= 1 << 16, let names = file.bytes(at: place.offset, count: Int(place.size)) else { return [] }
        return (0..<count).map(entry).map { section in
            Section(
                name: String(decoding: names.dropFirst(section.name).prefix { $0 != 0 }, as: UTF8.self),
                offset: section.offset, size: section.size)
        }
    }
}
