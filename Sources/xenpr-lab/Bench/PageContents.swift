import Foundation

/// What the memory of a bench's process holds: each word follows from its address and a seed, so that every byte can be compared without the process.
struct PageContents: Sendable {
    var start: UInt64
    var bytes: Int
    var seed: UInt64

    private static let pageSize = 4096
    /// Bytes that are compared at once.
    private static let portion = 4 << 20

    /// The word at `address`: the finalizer of splitmix64, as the process computes it.
    func word(at address: UInt64) -> UInt64 {
        var value = address ^ seed
        value = (value ^ value >> 30) &* 0xbf58_476d_1ce4_e5b9
        value = (value ^ value >> 27) &* 0x94d0_49bb_1331_11eb
        return value ^ value >> 31
    }

    /// Compares every byte with the checkpoint in `directory`, whichever of its processes has the memory.
    /// - Throws: with the first address that is missing or differs.
    func compare(withImagesIn directory: String) throws {
        let names = try FileManager.default.contentsOfDirectory(atPath: directory).sorted()
        for name in names where name.hasPrefix("pagemap-") && name.hasSuffix(".img") {
            let map = try PageMapImage(path: "\(directory)/\(name)")
            if map.runs.contains(where: { $0.range.contains(start) }) {
                return try compare(map, pages: "\(directory)/pages-\(map.number).img")
            }
        }
        throw LabFailure("no process in \(directory) has memory at 0x\(String(start, radix: 16))")
    }

    private func compare(_ map: PageMapImage, pages path: String) throws {
        guard let file = FileHandle(forReadingAtPath: path) else { throw LabFailure("cannot open \(path)") }
        defer { try? file.close() }
        var next = start
        let end = start + UInt64(bytes)
        for run in map.runs where run.range.upperBound > start && run.range.lowerBound < end {
            let range = run.range.clamped(to: start..<end)
            guard range.lowerBound == next else { break }
            try file.seek(toOffset: run.offset + (range.lowerBound - run.range.lowerBound))
            while next < range.upperBound {
                let count = min(Self.portion, Int(range.upperBound - next))
                guard let data = try file.read(upToCount: count), data.count == count else {
                    throw LabFailure("\(path) ends before the page of address 0x\(String(next, radix: 16))")
                }
                if let address = difference(in: data, at: next) {
                    throw LabFailure("\(path): the byte at 0x\(String(address, radix: 16)) is not what the process had there")
                }
                next += UInt64(count)
            }
        }
        guard next == end else { throw LabFailure("\(path): the page of address 0x\(String(next, radix: 16)) is missing") }
    }

    /// The first address at which `data`, which begins at `address`, differs.
    private func difference(in data: Data, at address: UInt64) -> UInt64? {
        unsafe data.withUnsafeBytes { bytes in
            for offset in stride(from: 0, to: bytes.count, by: 8) {
                // A portion is a multiple of a page, so eight bytes are left at each of these offsets.
                let found = unsafe bytes.loadUnaligned(fromByteOffset: offset, as: UInt64.self)
                let wanted = word(at: address + UInt64(offset)).littleEndian
                if found != wanted { return address + UInt64(offset + (found ^ wanted).trailingZeroBitCount / 8) }
            }
            return nil
        }
    }
}

/// A `pagemap-N.img` of CRIU as the bench reads it: by its own hand, not by that of the code which wrote it.
struct PageMapImage {
    struct Run {
        var range: Range<UInt64>
        /// Where its first page is in the pages file.
        var offset: UInt64
    }

    /// Of the pages file.
    let number: UInt64
    private(set) var runs: [Run] = []

    init(path: String) throws {
        let bytes = [UInt8](try Data(contentsOf: URL(fileURLWithPath: path)))
        // Two magic numbers, then messages (pagemap.proto), each behind its length.
        var position = 8
        var number: UInt64?
        var offset: UInt64 = 0
        while position + 4 <= bytes.count {
            let length = (0..<4).reduce(0) { $0 | Int(bytes[position + $1]) << (8 * $1) }
            position += 4
            guard length <= bytes.count - position, let fields = Self.fields(bytes[position..<position + length]) else {
                throw LabFailure("\(path) is damaged at byte \(position)")
            }
            position += length
            guard number != nil else {
                number = fields[1]
                continue
            }
            guard let address = fields[1], let count = fields[2] else { throw LabFailure("\(path): an entry says too little") }
            let (end, overflow) = address.addingReportingOverflow(count << 12)
            guard !overflow, count < 1 << 40 else { throw LabFailure("\(path): an entry has \(count) pages") }
            runs.append(Run(range: address..<end, offset: offset))
            offset += count << 12
        }
        guard let number else { throw LabFailure("\(path) does not say where its pages are") }
        self.number = number
    }

    /// The integers of a protobuf message that has nothing else.
    private static func fields(_ bytes: ArraySlice<UInt8>) -> [UInt64: UInt64]? {
        var rest = bytes
        func integer() -> UInt64? {
            var value: UInt64 = 0
            for shift in stride(from: UInt64(0), to: 64, by: 7) {
                guard let byte = rest.popFirst() else { return nil }
                value |= UInt64(byte & 0x7f) << shift
                if byte & 0x80 == 0 { return value }
            }
            return nil
        }
        var result: [UInt64: UInt64] = [:]
        while !rest.isEmpty {
            guard let key = integer(), key & 7 == 0, let value = integer() else { return nil }
            result[key >> 3] = value
        }
        return result
    }
}
