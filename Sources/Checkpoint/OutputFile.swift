import Glibc

/// A file being written, through a buffer for small parts and around it for page contents.
struct OutputFile: ~Copyable {
    private let descriptor: Int32
    private let name: String
    private var buffer: [UInt8] = []
    private(set) var byteCount: UInt64 = 0

    private static let bufferLimit = 256 << 10
    /// IOV_MAX.
    private static let pieceLimit = 1024

    /// Creates `name` in an open directory; it must not exist.
    init(creating name: String, beginningWith header: [UInt8] = [], in directory: OutputDirectory) throws(CheckpointError) {
        let opened = directory.create(name)
        guard opened >= 0 else { throw .system("create \(directory.path)/\(name)") }
        self.descriptor = opened
        self.name = "\(directory.path)/\(name)"
        self.buffer = header
    }

    deinit { close(descriptor) }

    mutating func append(_ bytes: [UInt8]) throws(CheckpointError) {
        buffer.append(contentsOf: bytes)
        if buffer.count >= Self.bufferLimit { try flush() }
    }

    mutating func flush() throws(CheckpointError) {
        guard !buffer.isEmpty else { return }
        var failure: CheckpointError?
        // The pointer is used only while the closure runs.
        unsafe buffer.withUnsafeBytes { bytes in
            do throws(CheckpointError) { try unsafe writeAll([bytes]) } catch { failure = error }
        }
        if let failure { throw failure }
        buffer.removeAll(keepingCapacity: true)
    }

    /// Writes lent memory without copying it.
    mutating func append(pieces: [UnsafeRawBufferPointer]) throws(CheckpointError) {
        try flush()
        try unsafe writeAll(pieces)
    }

    /// The pieces must be readable until the call returns; the callers hold them in closures that lend them.
    private mutating func writeAll(_ pieces: [UnsafeRawBufferPointer]) throws(CheckpointError) {
        var vectors: [iovec] = unsafe []
        var next = 0
        let pieceCount = unsafe pieces.count
        var pending = 0
        while next < pieceCount || pending > 0 {
            while pending < Self.pieceLimit, next < pieceCount {
                // writev only reads through the pointer.
                unsafe vectors.append(
                    iovec(iov_base: UnsafeMutableRawPointer(mutating: pieces[next].baseAddress), iov_len: pieces[next].count))
                next += 1
                pending += 1
            }
            var written = unsafe vectors.withUnsafeBufferPointer { unsafe writev(descriptor, $0.baseAddress, Int32($0.count)) }
            if written < 0 {
                if errno == EINTR { continue }
                throw .system("write \(name)")
            }
            byteCount &+= UInt64(written)
            var done = 0
            while done < pending {
                let length = unsafe vectors[done].iov_len
                guard written >= length else { break }
                written -= length
                done += 1
            }
            unsafe vectors.removeFirst(done)
            pending -= done
            if written > 0 {
                // A piece was written in part: go on behind that part.
                unsafe vectors[0].iov_base = unsafe vectors[0].iov_base?.advanced(by: written)
                unsafe vectors[0].iov_len -= written
            }
        }
    }

    /// Hands everything to the kernel; it is durable once the directory is finished.
    mutating func finish() throws(CheckpointError) { try flush() }
}
