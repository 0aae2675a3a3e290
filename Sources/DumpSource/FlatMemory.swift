import GuestMemory

/// The memory in a ``FlatFile``, for the walk over kernel objects.
///
/// Safe although it owns raw memory: that is allocated in `init`, freed in `deinit`, and never handed out.
@safe final class FlatMemory {
    let file: FlatFile
    /// Frames that were read for a few of their bytes: a walk comes back to the same ones again and again.
    private let cached: UnsafeMutableRawBufferPointer
    /// Which frame each slot of `cached` holds.
    private var owners: [FrameNumber?]

    /// 2 MiB.
    private static let slots = 512

    init(_ file: FlatFile) {
        self.file = file
        unsafe cached = .allocate(byteCount: Self.slots * FrameNumber.size, alignment: FrameNumber.size)
        owners = Array(repeating: nil, count: Self.slots)
    }

    deinit { unsafe cached.deallocate() }

    /// One past the last frame that has a byte in the file.
    var frameLimit: FrameNumber {
        let end = file.layout.segments.last?.end ?? 0
        return FrameNumber(end / UInt64(FrameNumber.size) + (end % UInt64(FrameNumber.size) == 0 ? 0 : 1))
    }

    /// The bytes must lie in one frame.
    func read(_ address: PhysicalAddress, into buffer: UnsafeMutableRawBufferPointer) throws(MemoryFault) {
        let frame = address.frame
        let start = address.offsetInFrame
        guard buffer.count <= FrameNumber.size - start else { throw MemoryFault(.notInDump, at: address) }
        let slot = Int(frame.rawValue % UInt64(Self.slots))
        // The slot lies in `cached`, which has `slots` frames.
        let place = unsafe UnsafeMutableRawBufferPointer(
            rebasing: cached[slot * FrameNumber.size..<(slot + 1) * FrameNumber.size])
        if owners[slot] != frame {
            owners[slot] = nil
            guard unsafe file.fill(place, from: frame.address) else {
                // A segment may begin or end inside of a frame.
                guard unsafe file.fill(buffer, from: address) else { throw MemoryFault(.notInDump, at: address) }
                return
            }
            owners[slot] = frame
        }
        unsafe buffer.copyMemory(from: UnsafeRawBufferPointer(rebasing: place[start..<start + buffer.count]))
    }
}
