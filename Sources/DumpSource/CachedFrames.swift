import GuestMemory

/// Frames of a dump for the walk over kernel objects, which reads a few bytes and comes back to the same frames again and again.
///
/// Safe although it owns raw memory: that is allocated in `init`, freed in `deinit`, and never handed out.
@safe final class CachedFrames {
    let frames: any DumpedFrames
    private let cached: UnsafeMutableRawBufferPointer
    /// Which frame each slot of `cached` holds.
    private var owners: [FrameNumber?]

    /// 2 MiB.
    private static let slots = 512

    init(_ frames: any DumpedFrames) {
        self.frames = frames
        unsafe cached = .allocate(byteCount: Self.slots * FrameNumber.size, alignment: FrameNumber.size)
        owners = Array(repeating: nil, count: Self.slots)
    }

    deinit { unsafe cached.deallocate() }

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
            do throws(MemoryFault) { try unsafe frames.read(frame.address, into: place) } catch {
                // A segment may begin or end inside of a frame.
                return try unsafe frames.read(address, into: buffer)
            }
            owners[slot] = frame
        }
        unsafe buffer.copyMemory(from: UnsafeRawBufferPointer(rebasing: place[start..<start + buffer.count]))
    }
}
