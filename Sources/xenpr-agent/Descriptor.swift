import CLinux
import Glibc

/// A file descriptor that is closed when its owner lets go of it.
struct Descriptor: ~Copyable {
    let number: Int32

    /// Takes over a descriptor that nothing else closes; a negative one is the failure of the call that should have made it.
    init?(taking number: Int32) {
        guard number >= 0 else { return nil }
        self.number = number
    }

    deinit { close(number) }

    /// Writes all of `bytes` at the current position, however many calls it takes.
    func write(_ bytes: [UInt8], to what: String) throws(AgentError) {
        var done = 0
        while done < bytes.count {
            let wrote = System.write(number, bytes, from: done)
            if wrote < 0 {
                if errno == EINTR { continue }
                throw systemError("cannot write \(what)")
            }
            done += wrote
        }
    }

    /// Reads up to `limit` bytes from the current position to the end of the file.
    func readAll(limit: Int, of what: String) throws(AgentError) -> [UInt8] {
        var content: [UInt8] = []
        var chunk = [UInt8](repeating: 0, count: 64 << 10)
        while true {
            let got = System.read(number, into: &chunk)
            if got < 0 {
                if errno == EINTR { continue }
                throw systemError("cannot read \(what)")
            }
            if got == 0 { return content }
            guard content.count + got <= limit else {
                throw AgentError(description: "cannot read \(what): it is larger than \(limit) bytes")
            }
            content.append(contentsOf: chunk[..<got])
        }
    }
}

/// The whole content of a small file (/proc, /sys, configuration).
func readFile(_ path: String, limit: Int = 64 << 20) throws(AgentError) -> [UInt8] {
    guard let file = Descriptor(taking: System.open(path, O_RDONLY)) else {
        throw systemError("cannot open \(path)")
    }
    return try file.readAll(limit: limit, of: path)
}

/// The content of a small text file, or nil when it cannot be read.
func readText(_ path: String) -> String? {
    guard let bytes = try? readFile(path, limit: 1 << 20) else { return nil }
    return String(decoding: bytes, as: UTF8.self)
}

/// Writes a control file of the kernel (/proc, /sys) in one call.
func writeControlFile(_ path: String, _ text: String) throws(AgentError) {
    guard let file = Descriptor(taking: System.open(path, O_WRONLY)) else {
        throw systemError("cannot open \(path)")
    }
    try file.write(Array(text.utf8), to: path)
}

/// Replaces a file so that a crash leaves either the old or the new content: temporary file, fsync, rename, fsync of the directory.
func replaceFile(_ path: String, with content: [UInt8]) throws(AgentError) {
    let temporary = path + ".new"
    do {
        guard let file = Descriptor(taking: System.open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW, 0o600)) else {
            throw systemError("cannot create \(temporary)")
        }
        try file.write(content, to: temporary)
        guard fsync(file.number) == 0 else { throw systemError("cannot sync \(temporary)") }
    }
    guard System.rename(temporary, path) == 0 else { throw systemError("cannot rename \(temporary) to \(path)") }
    synchronizeDirectory(parent(of: path))
}

/// Makes the entries of a directory durable. A file system that cannot is no reason to fail: the content was synced before.
func synchronizeDirectory(_ path: String) {
    guard let directory = Descriptor(taking: System.open(path, O_RDONLY | O_DIRECTORY)) else { return }
    _ = fsync(directory.number)
}

/// Makes a directory and those above it that are missing.
func makeDirectories(_ path: String, mode: mode_t = 0o755) throws(AgentError) {
    if System.mkdir(path, mode) == 0 || errno == EEXIST { return }
    guard errno == ENOENT, path != parent(of: path) else { throw systemError("cannot create the directory \(path)") }
    try makeDirectories(parent(of: path), mode: mode)
    guard System.mkdir(path, mode) == 0 || errno == EEXIST else { throw systemError("cannot create the directory \(path)") }
}

/// The path without its last component; "/" for a path directly below the root, "." when there is no slash.
func parent(of path: String) -> String {
    guard let slash = path.lastIndex(of: "/") else { return "." }
    return slash == path.startIndex ? "/" : String(path[..<slash])
}

/// Prints a line of data on standard output.
func printOut(_ text: String) {
    writeStandard(1, text + "\n")
}

/// Prints a line of log on standard error.
func printError(_ text: String) {
    writeStandard(2, text + "\n")
}

private func writeStandard(_ descriptor: Int32, _ text: String) {
    let bytes = Array(text.utf8)
    var done = 0
    while done < bytes.count {
        let wrote = System.write(descriptor, bytes, from: done)
        if wrote <= 0 { return }
        done += wrote
    }
}

/// Seconds on CLOCK_MONOTONIC, for measuring.
func monotonicSeconds() -> Double {
    var now = timespec()
    // The kernel fills the structure that is passed; the clock exists on every Linux.
    unsafe clock_gettime(CLOCK_MONOTONIC, &now)
    return Double(now.tv_sec) + Double(now.tv_nsec) / 1e9
}
