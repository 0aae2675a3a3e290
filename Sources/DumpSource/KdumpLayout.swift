import GuestMemory

/// The headers of a dump in the kdump format, as makedumpfile writes it and QEMU's `dump-guest-memory` with a compression (diskdump_mod.h and IMPLEMENTATION of
/// makedumpfile 1.7.2; include/sysemu/dump.h of QEMU).
///
/// Blocks of one page: a header, a sub-header, two maps with a bit for each frame (is memory; is in the dump), a descriptor for each frame that is in the dump,
/// and the frames, most of them compressed.
struct KdumpLayout: Sendable {
    /// One past the last frame that the maps tell of.
    let frameLimit: UInt64
    /// What makedumpfile was told to leave out.
    let level: DumpLevel
    /// Where the notes are, and the VMCOREINFO; nil where the header has no place for that.
    let notes: (offset: UInt64, size: UInt64)?
    let vmCoreInfo: (offset: UInt64, size: UInt64)?
    /// A bit for each frame that is in the dump.
    private let map: [UInt64]
    /// How many bits are set before each stretch of `stretch` words.
    private let counts: [UInt64]
    private let descriptors: UInt64

    /// `struct page_desc`.
    static let descriptorSize = 24

    private static let name: [UInt8] = Array("KDUMP   ".utf8)
    private static let blockSize: UInt64 = 4096
    private static let headerSize = 464
    private static let subHeaderSize = 104
    private static let stretch = 8
    /// Frames that are believed: 4 TiB of memory, whose map takes 128 MiB.
    private static let limit: UInt64 = 1 << 30

    /// - Returns: nil for a file in another format.
    /// - Throws: what makes it one that cannot be read.
    init?(_ file: DumpBytes) throws(DumpError) {
        guard let name = file.bytes(at: 0, count: Self.name.count), name == Self.name else { return nil }
        guard let header = file.bytes(at: 0, count: Self.headerSize),
            let sub = file.bytes(at: Self.blockSize, count: Self.subHeaderSize)
        else { throw DumpError(description: "its header was cut short") }
        let version: Int32 = header.number(at: 8)
        guard header.number(at: 428, as: UInt32.self) == UInt32(Self.blockSize), version >= 1 else {
            throw DumpError(description: "it is a kdump, but not of a 64-bit x86 machine")
        }
        // Where `split` is set the frames of other files are missing, which --reassemble brings together.
        guard version < 2 || sub.number(at: 12, as: Int32.self) == 0 else {
            throw DumpError(description: "it is a part of a dump that was split; 'makedumpfile --reassemble' puts it together")
        }
        level = DumpLevel(rawValue: Int(sub.number(at: 8, as: Int32.self)))
        frameLimit = version >= 6 ? sub.number(at: 96) : UInt64(header.number(at: 440, as: UInt32.self))
        // Offsets of less than 2^45, for all three numbers have 32 bits.
        let maps = (1 + UInt64(header.number(at: 432, as: UInt32.self))) * Self.blockSize
        let mapBlocks = UInt64(header.number(at: 436, as: UInt32.self))
        descriptors = maps + mapBlocks * Self.blockSize
        let mapSize = mapBlocks / 2 * Self.blockSize
        guard frameLimit > 0, frameLimit <= Self.limit, (frameLimit + 7) / 8 <= mapSize else {
            throw DumpError(description: "its header claims \(frameLimit) frames in \(mapBlocks) blocks of maps")
        }
        notes = version >= 4 ? (sub.number(at: 48), sub.number(at: 56)) : nil
        vmCoreInfo = version >= 3 ? (sub.number(at: 32), sub.number(at: 40)) : nil
        let words = Int((frameLimit + 63) / 64)
        guard let bits = file.bytes(at: maps + mapSize, count: Int((frameLimit + 7) / 8)) else {
            throw DumpError(description: "its map of frames was cut short")
        }
        var map = [UInt64](repeating: 0, count: words)
        for (index, byte) in bits.enumerated() { map[index / 8] |= UInt64(byte) << UInt64(index % 8 * 8) }
        var counts: [UInt64] = []
        counts.reserveCapacity(words / Self.stretch + 1)
        var count: UInt64 = 0
        for (index, word) in map.enumerated() {
            if index % Self.stretch == 0 { counts.append(count) }
            count += UInt64(word.nonzeroBitCount)
        }
        self.map = map
        self.counts = counts
    }

    /// Where the descriptor of a frame is; nil when the frame is not in the dump.
    func descriptor(of frame: FrameNumber) -> UInt64? {
        guard frame.rawValue < frameLimit else { return nil }
        let index = Int(frame.rawValue / 64)
        let bit = frame.rawValue % 64
        guard map[index] >> bit & 1 == 1 else { return nil }
        var before = counts[index / Self.stretch]
        for word in map[index / Self.stretch * Self.stretch..<index] { before += UInt64(word.nonzeroBitCount) }
        before += UInt64((map[index] & (1 << bit - 1)).nonzeroBitCount)
        return descriptors + before * UInt64(Self.descriptorSize)
    }
}
