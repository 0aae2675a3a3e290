import CLinux
import Glibc

/// A directory that a checkpoint is written into. It knows what was created in it, so that a failed checkpoint leaves nothing behind.
final class OutputDirectory {
    let path: String
    private let descriptor: Int32
    private var created: [String] = []

    /// Makes the directory, and those above it, and opens it. It must not exist yet.
    init(creating path: String) throws(CheckpointError) {
        var prefix = path.hasPrefix("/") ? "" : "."
        let components = path.split(separator: "/", omittingEmptySubsequences: true)
        for (index, component) in components.enumerated() {
            prefix += "/" + component
            // mkdir and open read the path, which Swift keeps alive and NUL-terminated during the call.
            if unsafe mkdir(prefix, 0o700) != 0 {
                guard errno == EEXIST, index < components.count - 1 else { throw .system("make directory \(prefix)") }
            }
        }
        let opened = unsafe open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard opened >= 0 else { throw .system("open directory \(path)") }
        self.path = path
        self.descriptor = opened
    }

    deinit { close(descriptor) }

    /// Opens a new file for writing; negative with `errno` set when that fails.
    func create(_ name: String) -> Int32 {
        let opened = unsafe openat(descriptor, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0o600)
        if opened >= 0 { created.append(name) }
        return opened
    }

    /// Makes the directory and all files in it durable, with one commit of the volume's journal instead of one for each file. Errors of delayed
    /// allocation appear here: since Linux 5.8 syncfs(2) reports those of every file of the volume.
    func finish() throws(CheckpointError) {
        guard xpr_sync_filesystem(descriptor) == 0 else { throw .system("make directory \(path) durable") }
    }

    /// Removes what was created, as far as that is possible, and the directory.
    func remove() {
        for name in created { unsafe unlinkat(descriptor, name, 0) }
        unsafe rmdir(path)
    }
}
