import GuestMemory

extension PageSupply where Self: ~Copyable {
    /// Copies what is lent.
    public mutating func copy(_ frames: [FrameNumber], into buffer: UnsafeMutableRawBufferPointer) throws(PageSupplyError) {
        var done = 0
        var fits = true
        try unsafe lend(frames) { pieces in
            for index in unsafe pieces.indices where fits {
                let piece = unsafe pieces[index]
                guard piece.count <= buffer.count - done else {
                    fits = false
                    return
                }
                // The piece fits behind what is there already.
                unsafe UnsafeMutableRawBufferPointer(rebasing: buffer[done..<done + piece.count]).copyMemory(from: piece)
                done += piece.count
            }
        }
        guard fits, done == buffer.count else {
            throw PageSupplyError("the memory source lent another number of bytes than was asked for")
        }
    }
}
