import CLinux
import Glibc
import GuestMemory
import Synchronization

/// Writes a file from its beginning to its end through some buffers: while one is being filled, the others are on their way to the disk.
///
/// A disk is busy only with several requests at once, and nobody waits for a thread to be woken (io_submit(2)). Linux does that only where the file has its blocks
/// already, so they are taken in advance; where that or anything else of it is not possible, each buffer is written when it is full.
///
/// Safe although it has raw memory: a buffer belongs to one writer until its last write has ended, and is lent only by `withBuffer`.
@safe struct DirectWriter: ~Copyable {
    /// Bytes of a buffer, and how many there are at most.
    static let bufferSize = 2 << 20
    private static let bufferLimit = 3
    /// Bytes for which blocks are taken at once. On a volume that runs full as many are missing elsewhere until the file is finished.
    private static let advance: UInt64 = 16 << 20

    private let descriptor: Int32
    private var tools: Tools
    /// What of each buffer is on its way to the disk.
    private var writes: [Range<UInt64>?]
    private var current = 0
    private var end: UInt64 = 0
    /// Up to where there are blocks; nil: there will be no more in advance.
    private var allocated: UInt64? = 0
    /// The number of the first error, and from where on bytes are missing.
    private var failure: (code: Int32, offset: UInt64)?

    /// - Parameter descriptor: the file; it stays the caller's, and open as long as this exists.
    init(_ descriptor: Int32) {
        self.descriptor = descriptor
        tools = Tools.take()
        writes = Array(repeating: nil, count: tools.buffers.count)
    }

    deinit {
        // The disk must not take from buffers that somebody else fills, nor may a queue have more in it than its owner knows of.
        for _ in 0..<writes.count(where: { $0 != nil }) {
            guard let queue = tools.queue else { break }
            var tag: UInt64 = 0
            var result: Int64 = 0
            // The call writes into the two values.
            while unsafe xpr_aio_wait(queue, &tag, &result) != 1 {
                // Then nobody knows, and they are given up.
                guard errno == EINTR else { return }
            }
        }
        tools.giveBack()
    }

    /// Bytes from the first on that have arrived.
    var bytesWritten: UInt64 {
        let pending = writes.compactMap { $0?.lowerBound }.min() ?? end
        return min(failure?.offset ?? end, pending)
    }

    /// Lends the buffer that is to be filled.
    func withBuffer<Result, Failure: Error>(
        _ body: (UnsafeMutableRawBufferPointer) throws(Failure) -> Result
    ) throws(Failure) -> Result {
        // `current` is the index of a buffer, none of whose bytes are on their way.
        try unsafe body(tools.buffers[current].bytes)
    }

    /// Has the first `count` bytes of the buffer written, and goes on with another.
    /// - Returns: the number of an error, of this or an earlier call; 0 for none.
    mutating func submit(_ count: Int) -> Int32 {
        let range = end..<end + UInt64(count)
        end = range.upperBound
        // The rest of a file, and a small file as a whole, is not worth the preparations.
        guard failure == nil, count == Self.bufferSize, reserve(range.upperBound), let queue = tools.queue else {
            return writeNow(count, at: range.lowerBound)
        }
        // The bytes stay as they are until the write has ended, for the buffer is not lent before.
        let begun = unsafe xpr_aio_write(
            queue, descriptor, tools.buffers[current].bytes.baseAddress, count, Int64(clamping: range.lowerBound),
            UInt64(current))
        guard begun == 1 else { return writeNow(count, at: range.lowerBound) }
        writes[current] = range
        if let free = writes.firstIndex(of: nil) {
            current = free
        } else if writes.count < Self.bufferLimit {
            current = writes.count
            tools.addBuffer()
            writes.append(nil)
        } else {
            current = waitForOne() ?? current
        }
        return failure?.code ?? 0
    }

    /// Waits for everything, and gives back what was taken in advance.
    /// - Returns: the number of the first error; 0 for none.
    mutating func finish() -> Int32 {
        while writes.contains(where: { $0 != nil }), waitForOne() != nil {}
        if let allocated, allocated > end, ftruncate(descriptor, off_t(end)) != 0, failure == nil { failure = (errno, end) }
        allocated = nil
        return failure?.code ?? 0
    }

    /// Takes blocks up to `end` and beyond.
    /// - Returns: whether there are.
    private mutating func reserve(_ end: UInt64) -> Bool {
        guard let start = allocated else { return false }
        if end <= start { return true }
        if tools.makeQueue(), xpr_reserve_blocks(descriptor, Int64(start), Int64(Self.advance)) == 0 {
            allocated = start + Self.advance
            return true
        }
        // Some blocks can have been found all the same.
        while writes.contains(where: { $0 != nil }), waitForOne() != nil {}
        _ = ftruncate(descriptor, off_t(min(start, end)))
        allocated = nil
        return false
    }

    /// Waits until a write has ended.
    /// - Returns: whose buffer is free now; nil when that cannot be known.
    private mutating func waitForOne() -> Int? {
        guard let queue = tools.queue else { return nil }
        var tag: UInt64 = 0
        var result: Int64 = 0
        // The call writes into the two values.
        while unsafe xpr_aio_wait(queue, &tag, &result) != 1 {
            guard errno == EINTR else {
                fail(errno, at: 0)
                return nil
            }
        }
        let index = Int(clamping: tag)
        guard writes.indices.contains(index), let range = writes[index] else {
            fail(EIO, at: 0)
            return nil
        }
        writes[index] = nil
        if result < 0 {
            fail(Int32(clamping: -result), at: range.lowerBound)
        } else if UInt64(result) < UInt64(range.count) {
            // What is left tells by its error why.
            _ = write(index, Int(result)..<range.count, at: range.lowerBound)
        }
        return index
    }

    /// Writes the buffer, and returns when that is done.
    private mutating func writeNow(_ count: Int, at offset: UInt64) -> Int32 {
        if failure == nil { _ = write(current, 0..<count, at: offset) }
        return failure?.code ?? 0
    }

    /// Writes a part of a buffer, the beginning of which belongs to `offset`.
    private mutating func write(_ index: Int, _ part: Range<Int>, at offset: UInt64) -> Bool {
        var done = part.lowerBound
        while done < part.upperBound {
            // At most the rest of the part is read, which lies in the buffer.
            let written = unsafe pwrite(
                descriptor, tools.buffers[index].bytes.baseAddress?.advanced(by: done), part.upperBound - done,
                off_t(clamping: offset + UInt64(done)))
            if written < 0, errno == EINTR { continue }
            guard written > 0 else {
                fail(written < 0 ? errno : EIO, at: offset + UInt64(done))
                return false
            }
            done += written
        }
        return true
    }

    private mutating func fail(_ code: Int32, at offset: UInt64) {
        failure = (failure?.code ?? code, min(failure?.offset ?? offset, offset))
    }

    /// The buffers and the queue of a writer. They outlive it: to end a queue takes Linux many milliseconds, and memory that is given back and taken anew for
    /// each of a thousand small files is made empty each time.
    private struct Tools: Sendable {
        /// Unchecked, for a pointer is never Sendable: the bytes are there for ever, and belong to one writer at a time, who takes them under the lock of `idle`.
        @safe struct Buffer: @unchecked Sendable {
            let bytes: UnsafeMutableRawBufferPointer
        }

        private(set) var queue: UInt?
        private(set) var buffers: [Buffer] = []

        private static let idle = Mutex<[Tools]>([])

        static func take() -> Tools {
            if let tools = idle.withLock({ $0.popLast() }) { return tools }
            var tools = Tools()
            tools.addBuffer()
            return tools
        }

        func giveBack() { Self.idle.withLock { $0.append(self) } }

        /// Aligned to a page, as direct access demands of memory, offset and length; and to a huge page, of which the disk's driver has one to look up where it
        /// would have 512.
        mutating func addBuffer() {
            let bytes = UnsafeMutableRawBufferPointer.allocate(
                byteCount: DirectWriter.bufferSize, alignment: DirectWriter.bufferSize)
            // Changes nothing but how the memory is made; without huge pages it stays as it is.
            _ = unsafe madvise(bytes.baseAddress, bytes.count, MADV_HUGEPAGE)
            buffers.append(unsafe Buffer(bytes: bytes))
        }

        /// - Returns: whether there is one.
        mutating func makeQueue() -> Bool {
            if queue != nil { return true }
            var made: UInt = 0
            // The call writes into the value.
            guard unsafe xpr_aio_setup(UInt32(DirectWriter.bufferLimit), &made) == 0 else { return false }
            queue = made
            return true
        }
    }
}
