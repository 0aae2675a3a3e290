import GuestMemory

extension PageSupply where Self: ~Copyable {
    /// Copies what is lent.
    public mutating func copy(_ frames: [FrameNumber], into buffer: UnsafeMutableRawBufferPointer) throws(PageSupplyError) {
        var done = 0
        var fits = true
        try unsafe lend(frames) { pieces in
            var count = 0
            for index in unsafe pieces.indices { count += unsafe pieces[index].count }
            guard fits, count <= buffer.count - done else {
                fits = false
                return
            }
            // There is room for all of them behind what is there already.
            let room = unsafe UnsafeMutableRawBufferPointer(rebasing: buffer[done..<done + count])
            fits = unsafe FrameBatch.gather(pieces, into: room)
            done += count
        }
        guard fits, done == buffer.count else {
            throw PageSupplyError("the memory source lent another number of bytes than was asked for")
        }
    }
}
