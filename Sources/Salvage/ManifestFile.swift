import Checkpoint
import Glibc
import PlainJSON

/// `recovery.json` while it is being written: under another name, with room reserved for it, until it is complete and durable.
struct ManifestFile: ~Copyable {
    private let directory: String
    private let descriptor: Int32

    private static let name = "recovery.json"
    private static let temporary = "recovery.json.tmp"
    /// Bytes set aside; a manifest of some thousand processes is smaller.
    private static let reserve: Int = 1 << 20

    /// Makes the temporary file and reserves blocks for it.
    init(reservingIn directory: String) throws(CheckpointError) {
        let path = "\(directory)/\(Self.temporary)"
        // The path is passed as a zero-terminated copy for the length of the call.
        let descriptor = unsafe open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0o600)
        guard descriptor >= 0 else { throw Self.failure("make \(path)", errno) }
        // Filesystems without fallocate (some network ones) write without a reserve.
        let status = posix_fallocate(descriptor, 0, off_t(Self.reserve))
        guard status == 0 || status == EOPNOTSUPP || status == EINVAL else {
            close(descriptor)
            throw Self.failure("reserve room for \(path)", status)
        }
        self.directory = directory
        self.descriptor = descriptor
    }

    deinit { close(descriptor) }

    /// Writes the manifest, makes it durable, and gives it its name.
    consuming func commit(_ manifest: RecoveryManifest) throws(CheckpointError) {
        // For people, unless it is long for its readers, who take no more than 64 MiB.
        let readable = manifest.json.bytes(.pretty)
        let bytes = readable.count < 8 << 20 ? readable : manifest.json.bytes(.compact)
        var written = 0
        while written < bytes.count {
            // The range starts inside the array and ends at its end.
            let count = unsafe bytes[written...].withUnsafeBytes { unsafe Glibc.write(descriptor, $0.baseAddress, $0.count) }
            if count < 0, errno == EINTR { continue }
            guard count > 0 else { throw Self.failure("write \(Self.temporary)", errno) }
            written += count
        }
        guard ftruncate(descriptor, off_t(bytes.count)) == 0, fsync(descriptor) == 0 else {
            throw Self.failure("make \(Self.temporary) durable", errno)
        }
        // Both paths are passed as zero-terminated copies for the length of the call.
        guard unsafe rename("\(directory)/\(Self.temporary)", "\(directory)/\(Self.name)") == 0 else {
            throw Self.failure("rename \(Self.temporary)", errno)
        }
        let folder = unsafe open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard folder >= 0 else { throw Self.failure("open \(directory)", errno) }
        defer { close(folder) }
        guard fsync(folder) == 0 else { throw Self.failure("make \(directory) durable", errno) }
    }

    private static func failure(_ operation: String, _ code: Int32) -> CheckpointError {
        code == ENOSPC || code == EDQUOT ? .volumeFull(operation: operation) : .system(operation: operation, code: code)
    }
}
