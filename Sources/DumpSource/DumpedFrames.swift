import Dispatch
import Glibc
import GuestMemory
import Synchronization

/// The frames of a dump, as one of the formats keeps them. Reading changes nothing, so several threads may do it.
protocol DumpedFrames: Sendable {
    /// One past the last frame that has a byte in the dump.
    var frameLimit: FrameNumber { get }

    /// Reads bytes that lie in one frame.
    func read(_ address: PhysicalAddress, into buffer: UnsafeMutableRawBufferPointer) throws(MemoryFault)

    /// Reads frames one behind the other. `buffer` must have room for all of them.
    func readInOrder(_ frames: ArraySlice<FrameNumber>, into buffer: UnsafeMutableRawBufferPointer) throws(MemoryFault)

    /// What several threads would do at once while these frames are read, counted.
    func pieces(in frames: ArraySlice<FrameNumber>) -> Int
}

/// Threads that read page contents, and pieces that are worth another thread.
private let threads = max(1, min(4, sysconf(Int32(_SC_NPROCESSORS_ONLN))))
private let share = 64

extension DumpedFrames {
    /// Reads frames one behind the other, with several threads where that is quicker. `buffer` must have room for all of them.
    func read(_ frames: ArraySlice<FrameNumber>, into buffer: UnsafeMutableRawBufferPointer) throws(MemoryFault) {
        let parts = min(threads, pieces(in: frames) / share)
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
}
