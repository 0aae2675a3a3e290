import GuestMemory

/// A small guest memory that a test builds: frames on demand, kernel pages mapped one to one into the upper half.
///
/// Safe although it lends raw memory: what it lends points into `Array`s that live until `body` returns.
@safe public final class SyntheticMemory: FrameSource {
    private var frames: [UInt64: [UInt8]] = [:]
    public let frameLimit = FrameNumber(1 << 20)
    private var nextTable: UInt64 = 0x1000

    public init() {}

    /// The page tables: a PGD at frame 1, further tables behind it.
    public var tables: PageTables { PageTables(root: PhysicalAddress(0x1000), levels: 4) }

    public func read(_ address: PhysicalAddress, into buffer: UnsafeMutableRawBufferPointer) throws(MemoryFault) {
        guard let frame = frames[address.frame.rawValue] else { throw MemoryFault(.notInDump, at: address) }
        guard address.offsetInFrame + buffer.count <= frame.count else {
            throw MemoryFault(.damaged("crosses a frame"), at: address)
        }
        // The range was checked against the frame; the buffer is the caller's.
        unsafe buffer.copyBytes(from: frame[address.offsetInFrame..<address.offsetInFrame + buffer.count])
    }

    public func withFrames<Result>(
        _ frames: ArraySlice<FrameNumber>, _ body: ([UnsafeRawBufferPointer]) throws -> Result
    ) throws -> Result {
        var bytes: [UInt8] = []
        for frame in frames {
            guard let frame = self.frames[frame.rawValue] else { throw MemoryFault(.notInDump, at: frame.address) }
            bytes += frame
        }
        // The buffer lives as long as `body` runs.
        return unsafe try bytes.withUnsafeBytes { unsafe try body([$0]) }
    }

    public func write(_ bytes: [UInt8], at address: PhysicalAddress) {
        for (index, byte) in bytes.enumerated() {
            let at = address.rawValue + UInt64(index)
            frames[at >> 12, default: [UInt8](repeating: 0, count: 4096)][Int(at & 0xfff)] = byte
        }
    }

    public func write(_ word: UInt64, at address: PhysicalAddress) {
        write((0..<8).map { UInt8(truncatingIfNeeded: word >> UInt64($0 * 8)) }, at: address)
    }

    /// Maps a page of virtual memory to a frame with the given low bits of the entry.
    public func map(_ page: VirtualAddress, to frame: FrameNumber, flags: UInt64 = 3) {
        var table: UInt64 = 0x1000
        for level in [3, 2, 1] {
            let slot = PhysicalAddress(table + (page.rawValue >> UInt64(12 + 9 * level) & 0x1ff) * 8)
            var entry = word(at: slot)
            if entry == 0 {
                nextTable += 0x1000
                write([UInt8](repeating: 0, count: 4096), at: PhysicalAddress(nextTable))
                entry = nextTable | 3
                write(entry, at: slot)
            }
            table = entry & 0x000f_ffff_ffff_f000
        }
        write(frame.address.rawValue | flags, at: PhysicalAddress(table + (page.rawValue >> 12 & 0x1ff) * 8))
    }

    private func word(at address: PhysicalAddress) -> UInt64 {
        guard let frame = frames[address.frame.rawValue] else { return 0 }
        return frame[address.offsetInFrame..<address.offsetInFrame + 8].reversed().reduce(0) { $0 << 8 | UInt64($1) }
    }

    /// Kernel memory for objects: `address` and what follows, mapped page by page to frames of their own.
    public func place(_ words: [UInt64], at address: VirtualAddress) {
        for (index, word) in words.enumerated() {
            let at = address + index * 8
            let frame = FrameNumber(0x8_0000 | at.rawValue >> 12 & 0xffff)
            map(at.page, to: frame)
            write(word, at: PhysicalAddress(frame.address.rawValue + UInt64(at.offsetInPage)))
        }
    }
}
