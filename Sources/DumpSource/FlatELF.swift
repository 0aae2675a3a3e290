import Glibc
import GuestMemory

/// An ELF core file whose segments hold the guest's memory as it is, as QEMU's `dump-guest-memory` writes it.
///
/// Most of what is salvaged is page contents, and here they lie in the file in the order of their addresses: a run of frames is
/// one pread(2) into the batch that is then written out. libkdumpfile looks up, caches and lends page by page, which takes several times as long.
/// What it alone understands (compressed dumps, kdump's own format) stays with it, see ``DumpFile``.
struct FlatELF {
    /// Physical addresses `start..<end` at `offset` in the file.
    struct Segment: Equatable {
        var start: UInt64
        var end: UInt64
        var offset: UInt64
    }

    /// In the order of their addresses, without overlap.
    let segments: [Segment]

    /// Segments that are looked at; QEMU writes one for each block of RAM, a handful.
    private static let segmentLimit = 4096

    // elf(5), 64 bits.
    private static let headerSize = 64
    private static let programHeaderSize = 56
    private static let loadSegment: UInt32 = 1

    /// Reads the headers. Nil when the file is anything but a little-endian ELF64 core of x86-64 with plain segments.
    init?(descriptor: Int32) {
        guard let header = Self.bytes(descriptor, at: 0, count: Self.headerSize),
            header[0..<7].elementsEqual([0x7f, 0x45, 0x4c, 0x46, 2, 1, 1]),
            Self.integer(header, 16, UInt16.self) == 4,  // ET_CORE
            Self.integer(header, 18, UInt16.self) == 62,  // EM_X86_64
            Self.integer(header, 54, UInt16.self) == UInt16(Self.programHeaderSize)
        else { return nil }
        let count = Int(Self.integer(header, 56, UInt16.self))
        // 0xffff (PN_XNUM) means that the count is elsewhere.
        guard (1...Self.segmentLimit).contains(count), let size = Self.size(of: descriptor),
            let table = Self.bytes(
                descriptor, at: Self.integer(header, 32, UInt64.self), count: count * Self.programHeaderSize)
        else { return nil }
        var found: [Segment] = []
        for index in 0..<count {
            let entry = index * Self.programHeaderSize
            guard Self.integer(table, entry, UInt32.self) == Self.loadSegment else { continue }
            let offset = Self.integer(table, entry + 8, UInt64.self)
            let start = Self.integer(table, entry + 24, UInt64.self)
            let inFile = Self.integer(table, entry + 32, UInt64.self)
            // A file that was cut short lacks what is behind its end, not more.
            let length = offset < size ? min(inFile, size - offset) : 0
            let (end, overflow) = start.addingReportingOverflow(length)
            guard !overflow else { return nil }
            if length > 0 { found.append(Segment(start: start, end: end, offset: offset)) }
        }
        found.sort { $0.start < $1.start }
        for (lower, upper) in zip(found, found.dropFirst()) where upper.start < lower.end { return nil }
        guard !found.isEmpty else { return nil }
        segments = found
    }

    /// Where in the file the `count` bytes from `address` are; nil when they are not all in one segment.
    func offset(of address: UInt64, count: Int) -> UInt64? {
        var low = 0
        var high = segments.count
        while low < high {
            let middle = (low + high) / 2
            if segments[middle].end <= address { low = middle + 1 } else { high = middle }
        }
        guard low < segments.count, segments[low].start <= address, UInt64(count) <= segments[low].end - address else {
            return nil
        }
        return segments[low].offset + (address - segments[low].start)
    }

    private static func size(of descriptor: Int32) -> UInt64? {
        var status = stat()
        // fstat fills the structure that it is given.
        guard unsafe fstat(descriptor, &status) == 0, status.st_size > 0 else { return nil }
        return UInt64(status.st_size)
    }

    private static func bytes(_ descriptor: Int32, at offset: UInt64, count: Int) -> [UInt8]? {
        guard let position = off_t(exactly: offset) else { return nil }
        var buffer = [UInt8](repeating: 0, count: count)
        // The buffer has `count` bytes and lives during the call.
        let done = unsafe buffer.withUnsafeMutableBytes { unsafe pread(descriptor, $0.baseAddress, count, position) }
        return done == count ? buffer : nil
    }

    private static func integer<Value: FixedWidthInteger>(_ bytes: [UInt8], _ offset: Int, _: Value.Type) -> Value {
        bytes[offset..<offset + MemoryLayout<Value>.size].reversed().reduce(0) { $0 << 8 | Value($1) }
    }
}
