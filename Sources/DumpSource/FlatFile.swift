import Dispatch
import Glibc
import GuestMemory
import Synchronization

/// The dump whose memory lies as a ``FlatELF`` says. Reading changes nothing here, so several threads may do it.
struct FlatFile: Sendable {
    let layout: FlatELF
    /// It belongs to the ``DumpFile``.
    let descriptor: Int32

    /// Threads that read page contents, and calls that are worth another thread.
    private static let threads = max(1, min(4, sysconf(Int32(_SC_NPROCESSORS_ONLN))))
    private static let share = 64

    /// Reads frames one behind the other. `buffer` must have room for all of them.
    ///
    /// What lies together is one call. With what is scattered most of the time goes by waiting for memory, or for the disk where the dump is not cached: several
    /// threads wait at once.
    func read(_ frames: ArraySlice<FrameNumber>, into buffer: UnsafeMutableRawBufferPointer) throws(MemoryFault) {
        let pieces = zip(frames, frames.dropFirst()).count { $1.rawValue != $0.rawValue &+ 1 }
        let parts = min(Self.threads, pieces / Self.share)
        guard parts > 1 else { return try unsafe readInOrder(frames, into: buffer) }
        let faults = Mutex<[Int: MemoryFault]>([:])
        // Outlives the threads, which have all ended when the call returns, and each has its own part of it.
        nonisolated(unsafe) let buffer = unsafe buffer
        DispatchQueue.concurrentPerform(iterations: parts) { part in
            let first = frames.count * part / parts
            let last = frames.count * (part + 1) / parts
            let slice = frames[frames.startIndex + first..<frames.startIndex + last]
            do throws(MemoryFault) {
                // The slice's place among all frames, for which there is room.
                try unsafe readInOrder(
                    slice,
                    into: UnsafeMutableRawBufferPointer(rebasing: buffer[first * FrameNumber.size..<last * FrameNumber.size]))
            } catch {
                faults.withLock { $0[part] = error }
            }
        }
        if let fault = faults.withLock({ $0.min { $0.key < $1.key }?.value }) { throw fault }
    }

    /// Neighbours of the file in one call.
    private func readInOrder(_ frames: ArraySlice<FrameNumber>, into buffer: UnsafeMutableRawBufferPointer) throws(MemoryFault)
    {
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
            let piece = unsafe UnsafeMutableRawBufferPointer(rebasing: buffer[done..<done + length])
            guard unsafe fill(piece, from: first.address) else { throw MemoryFault(.notInDump, at: first.address) }
            done += length
            next += count
        }
    }

    /// Whether the whole buffer could be read from `address` on.
    func fill(_ buffer: UnsafeMutableRawBufferPointer, from address: PhysicalAddress) -> Bool {
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
