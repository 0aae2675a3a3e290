import GuestMemory

/// A dump whose memory lies as a ``FlatLayout`` says.
struct FlatFile: DumpedFrames {
    let layout: FlatLayout
    let bytes: DumpBytes

    var frameLimit: FrameNumber {
        let end = layout.segments.last?.end ?? 0
        return FrameNumber(end / UInt64(FrameNumber.size) + (end % UInt64(FrameNumber.size) == 0 ? 0 : 1))
    }

    /// What lies together is one call. With what is scattered most of the time goes by waiting for memory, or for the disk where the dump is not cached.
    func pieces(in frames: ArraySlice<FrameNumber>) -> Int {
        zip(frames, frames.dropFirst()).count { $1.rawValue != $0.rawValue &+ 1 }
    }

    /// Neighbours of the file in one call.
    func readInOrder(_ frames: ArraySlice<FrameNumber>, into buffer: UnsafeMutableRawBufferPointer) throws(MemoryFault) {
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
            try unsafe read(first.address, into: UnsafeMutableRawBufferPointer(rebasing: buffer[done..<done + length]))
            done += length
            next += count
        }
    }

    func read(_ address: PhysicalAddress, into buffer: UnsafeMutableRawBufferPointer) throws(MemoryFault) {
        guard let offset = layout.offset(of: address.rawValue, count: buffer.count), unsafe bytes.fill(buffer, at: offset)
        else { throw MemoryFault(.notInDump, at: address) }
    }
}
