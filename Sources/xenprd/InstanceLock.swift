import Glibc

/// Keeps a second xenprd from touching the same guests: an exclusive lock that the kernel drops with the process.
struct InstanceLock {
    private let descriptor: Int32

    init(path: String) throws(ToolFailure) {
        // The path is a string of ours; the calls keep no pointer.
        let descriptor = unsafe open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0o600)
        guard descriptor >= 0 else { throw ToolFailure("cannot open \(path): \(errorText(errno))") }
        guard flock(descriptor, LOCK_EX | LOCK_NB) == 0 else {
            close(descriptor)
            throw ToolFailure("another xenprd is running: it holds \(path); stop it first (systemctl stop xenprd)")
        }
        self.descriptor = descriptor
    }

    func release() {
        close(descriptor)
    }
}
