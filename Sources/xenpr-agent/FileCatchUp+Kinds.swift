import CLinux
import Glibc

extension FileCatchUp {
    /// Makes a directory or a named pipe that is not there, as it was; what is there stays as it is.
    /// - Returns: false when `file` is neither of both.
    func makeOtherKind(_ file: RecoveryManifest.File, _ root: borrowing Descriptor) throws(AgentError) -> Bool {
        let type = file.mode & S_IFMT
        guard type == S_IFDIR || type == S_IFIFO else { return false }
        let path = try relative(file.path)
        let flags = O_RDONLY | O_NOFOLLOW | O_NONBLOCK
        if let existing = Descriptor(taking: System.openBeneath(root, path, flags)) {
            guard let status = System.status(existing.number), status.st_mode & S_IFMT == type else {
                throw AgentError(description: "something of another kind has its name now")
            }
            return true
        }
        guard errno == ENOENT else { throw systemError("it cannot be opened") }
        try makeDirectories(parent(of: file.path))
        let made = type == S_IFDIR ? System.mkdir(file.path, 0o700) : System.mkfifo(file.path, 0o600)
        guard made == 0 else { throw systemError("it cannot be created") }
        guard let new = Descriptor(taking: System.openBeneath(root, path, flags)) else {
            throw systemError("it cannot be opened")
        }
        guard fchown(new.number, file.uid, file.gid) == 0, fchmod(new.number, file.mode & 0o7777) == 0 else {
            throw systemError("its owner and mode cannot be set")
        }
        return true
    }

    /// Whether a file was written to by the system that booted after the crash; by the file's clock and the dead kernel's, one second being lost in
    /// rounding.
    func isNewerThanCrash(_ status: stat) -> Bool {
        guard let crashedAt else { return false }
        return Int64(status.st_mtim.tv_sec) > crashedAt &+ 1
    }
}
