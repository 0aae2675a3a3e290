import CLinux
import Glibc
import GuestMemory

/// A file of whole pages, written around the page cache.
///
/// Pages go through one buffer to the disk (O_DIRECT). Through the page cache each would cost the salvager a page of its memory, work for that page twice
/// (to dirty it, to clean it), and the wait for all of them at the end, while nothing reads them again before the guest has rebooted.
/// File systems without direct access get plain writes.
///
/// Safe although it owns raw memory: that is allocated in `init`, freed in `deinit`, and never handed out.
@safe struct PagesFile: ~Copyable {
    private let descriptor: Int32
    private let name: String
    /// Aligned to a page, as direct access demands of memory, offset and length.
    private let buffer: UnsafeMutableRawBufferPointer
    private var filled = 0
    private(set) var byteCount: UInt64 = 0

    /// Bytes that go to the disk at once: enough to keep a disk busy, and as many as a source lends.
    private static let capacity = FrameBatch.limit * FrameNumber.size

    /// Creates `name` in an open directory; it must not exist.
    init(creating name: String, in directory: OutputDirectory) throws(CheckpointError) {
        let opened = directory.create(name)
        guard opened >= 0 else { throw .system("create \(directory.path)/\(name)") }
        // Fails where there is no direct access; then the file stays as it was opened.
        _ = xpr_bypass_page_cache(opened)
        descriptor = opened
        self.name = "\(directory.path)/\(name)"
        unsafe buffer = .allocate(byteCount: Self.capacity, alignment: FrameNumber.size)
    }

    deinit {
        close(descriptor)
        unsafe buffer.deallocate()
    }

    /// Appends a multiple of the page size.
    mutating func append(_ bytes: UnsafeRawBufferPointer) throws(CheckpointError) {
        var done = 0
        while done < bytes.count {
            let count = min(bytes.count - done, Self.capacity - filled)
            // `count` bytes are left in both.
            unsafe UnsafeMutableRawBufferPointer(rebasing: buffer[filled..<filled + count]).copyMemory(
                from: UnsafeRawBufferPointer(rebasing: bytes[done..<done + count]))
            done += count
            filled += count
            byteCount &+= UInt64(count)
            if filled == Self.capacity { try flush() }
        }
    }

    private mutating func flush() throws(CheckpointError) {
        var done = 0
        while done < filled {
            // At most what is filled is read.
            let written = unsafe write(descriptor, buffer.baseAddress?.advanced(by: done), filled - done)
            if written < 0, errno == EINTR { continue }
            guard written > 0 else { throw .system("write \(name)") }
            done += written
        }
        filled = 0
    }

    /// Hands everything to the disk; it is durable once the directory is finished.
    mutating func finish() throws(CheckpointError) { try flush() }
}
