import Glibc
import GuestMemory

/// A disk of the dead guest in a raw image, or the device of the control domain that is behind it. It is only read.
public final class DiskFile: DiskSource {
    public let path: String
    private let descriptor: Int32

    /// O_DIRECT, which Glibc's overlay leaves out (include/uapi/asm-generic/fcntl.h).
    private static let direct: Int32 = 0o40000

    /// - Throws: `DiskFault` when the file cannot be opened, or is one that is no raw image for sure.
    public init(path: String) throws(DiskFault) {
        // The guest's writes went to the device past the page cache of whoever reads it here, which may be old; where the file system
        // cannot do without its cache, the writes went through the same one.
        // The path is passed as a zero-terminated copy for the length of each call.
        var descriptor = unsafe open(path, O_RDONLY | O_CLOEXEC | Self.direct)
        if descriptor < 0, errno == EINVAL { descriptor = unsafe open(path, O_RDONLY | O_CLOEXEC) }
        guard descriptor >= 0 else { throw DiskFault("cannot open disk \(path): \(Self.text(of: errno))") }
        self.path = path
        self.descriptor = descriptor
        let start: [UInt8]
        do throws(DiskFault) {
            // A page is read into a page.
            start = try unsafe Self.aligned(4096) { buffer throws(DiskFault) in unsafe try read(at: 0, into: buffer) }
        } catch {
            close(descriptor)
            throw error
        }
        for (name, magic) in [("qcow2", "QFI\u{fb}"), ("VMDK", "KDMV"), ("VHD", "conectix")]
        where start.starts(with: Self.bytes(magic)) {
            close(descriptor)
            throw DiskFault("disk \(path) is in the format \(name), of which only raw images are read")
        }
    }

    deinit { close(descriptor) }

    public func read(at offset: UInt64, into buffer: UnsafeMutableRawBufferPointer) throws(DiskFault) {
        let length = buffer.count
        // O_DIRECT wants the memory aligned as the disk is.
        let contents = try unsafe Self.aligned(length) { part throws(DiskFault) in
            var done = 0
            while done < part.count {
                guard let position = off_t(exactly: offset &+ UInt64(done)) else {
                    throw DiskFault("disk \(path) has no byte \(offset)")
                }
                // The rest of the part, which is what remains to be read.
                let count = unsafe pread(descriptor, part.baseAddress?.advanced(by: done), part.count - done, position)
                if count < 0, errno == EINTR { continue }
                guard count > 0 else {
                    let cause = count < 0 ? Self.text(of: errno) : "it ends before"
                    throw DiskFault("cannot read \(length) bytes at \(offset) of disk \(path): \(cause)")
                }
                done += count
            }
        }
        unsafe buffer.copyBytes(from: contents)
    }

    private static func bytes(_ text: String) -> [UInt8] { text.unicodeScalars.map { UInt8(truncatingIfNeeded: $0.value) } }

    /// Fills memory that is aligned to a page, and copies it out.
    private static func aligned(
        _ count: Int, _ fill: (UnsafeMutableRawBufferPointer) throws(DiskFault) -> Void
    ) throws(DiskFault) -> [UInt8] {
        // It is ours until the copy is made.
        let memory = UnsafeMutableRawBufferPointer.allocate(byteCount: max(count, 1), alignment: 4096)
        defer { unsafe memory.deallocate() }
        unsafe try fill(UnsafeMutableRawBufferPointer(rebasing: memory[..<count]))
        return unsafe Array(memory[..<count])
    }

    // `strerror` gives a valid string for every number.
    private static func text(of number: Int32) -> String { unsafe String(cString: strerror(number)) }
}
