import Glibc
import GuestMemory

/// Reads memory from a ``FlatELF``.
///
/// Safe although it owns raw memory: that is allocated in `init`, freed in `deinit`, and never handed out.
@safe final class FlatMemory {
    private let layout: FlatELF
    /// The dump; it belongs to the ``DumpFile``.
    private let descriptor: Int32
    /// Frames that were read for a few of their bytes: a walk comes back to the same ones again and again.
    private let cached: UnsafeMutableRawBufferPointer
    /// Which frame each slot of `cached` holds.
    private var owners: [FrameNumber?]

    /// 4 MiB.
    private static let slots = 1024

    init(_ layout: FlatELF, descriptor: Int32) {
        self.layout = layout
        self.descriptor = descriptor
        unsafe cached = .allocate(byteCount: Self.slots * FrameNumber.size, alignment: FrameNumber.size)
        owners = Array(repeating: nil, count: Self.slots)
    }

    deinit { unsafe cached.deallocate() }

    /// One past the last frame that has a byte in the file.
    var frameLimit: FrameNumber {
        let end = layout.segments.last?.end ?? 0
        return FrameNumber(end / UInt64(FrameNumber.size) + (end % UInt64(FrameNumber.size) == 0 ? 0 : 1))
    }

    /// The bytes must lie in one frame.
    func read(_ address: PhysicalAddress, into buffer: UnsafeMutableRawBufferPointer) throws(MemoryFault) {
        let frame = address.frame
        let start = address.offsetInFrame
        let slot = Int(frame.rawValue % UInt64(Self.slots))
        guard buffer.count <= FrameNumber.size - start else { throw MemoryFault(.notInDump, at: address) }
        // The slot lies in `cached`, which has `slots` frames.
        let place = unsafe UnsafeMutableRawBufferPointer(
            rebasing: cached[slot * FrameNumber.size..<(slot + 1) * FrameNumber.size])
        if owners[slot] != frame {
            owners[slot] = nil
            guard unsafe fill(place, from: frame.address) else {
                // A segment may begin or end inside of a frame.
                guard unsafe fill(buffer, from: address) else { throw MemoryFault(.notInDump, at: address) }
                return
            }
            owners[slot] = frame
        }
        unsafe buffer.copyMemory(from: UnsafeRawBufferPointer(rebasing: place[start..<start + buffer.count]))
    }

    /// Reads frames one behind the other, neighbours of the file in one call. `batch` must have room for all of them.
    func read(_ frames: ArraySlice<FrameNumber>, into batch: UnsafeMutableRawBufferPointer) throws(MemoryFault) {
        var next = frames.startIndex
        var done = 0
        while next < frames.endIndex {
            let first = frames[next]
            var count = 1
            while next + count < frames.endIndex,
                frames[next + count].rawValue == first.rawValue &+ UInt64(count),
                layout.offset(of: first.address.rawValue, count: (count + 1) * FrameNumber.size) != nil
            {
                count += 1
            }
            let length = count * FrameNumber.size
            // `done` and `length` add up to at most all frames, for which the caller has made room.
            let piece = unsafe UnsafeMutableRawBufferPointer(rebasing: batch[done..<done + length])
            guard unsafe fill(piece, from: first.address) else { throw MemoryFault(.notInDump, at: first.address) }
            done += length
            next += count
        }
    }

    /// Whether the whole buffer could be read from `address` on.
    private func fill(_ buffer: UnsafeMutableRawBufferPointer, from address: PhysicalAddress) -> Bool {
        guard var offset = layout.offset(of: address.rawValue, count: buffer.count).flatMap({ off_t(exactly: $0) }) else {
            return false
        }
        var done = 0
        while done < buffer.count {
            // At most the rest of the buffer is written.
            let length = unsafe pread(descriptor, buffer.baseAddress?.advanced(by: done), buffer.count - done, offset)
            if length < 0, errno == EINTR { continue }
            guard length > 0 else { return false }
            done += length
            offset += off_t(length)
        }
        return true
    }
}
