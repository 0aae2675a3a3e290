import CLinux
import Glibc

extension FileCatchUp {
    /// Makes a directory, a named pipe or a symbolic link that is not there, as it was.
    /// - Returns: false when `file` is none of them.
    mutating func makeOtherKind(_ file: RecoveryManifest.File, _ root: borrowing Descriptor) throws(AgentError) -> Bool {
        let type = file.mode & S_IFMT
        if type == S_IFLNK {
            try makeLink(file, root)
            return true
        }
        guard type == S_IFDIR || type == S_IFIFO else { return false }
        let path = try relative(file.path)
        let flags = O_RDONLY | O_NOFOLLOW | O_NONBLOCK
        if let existing = Descriptor(taking: System.openBeneath(root, path, flags)) {
            guard let status = System.status(existing.number), status.st_mode & S_IFMT == type else {
                throw AgentError(description: "something of another kind has its name now")
            }
            if type == S_IFDIR { try setAttributes(of: file, existing, status) }
            return true
        }
        guard errno == ENOENT else { throw systemError("it cannot be opened") }
        if type == S_IFDIR, try restoreName(file, root) { return true }
        try makeDirectories(parent(of: file.path))
        let made = type == S_IFDIR ? System.mkdir(file.path, 0o700) : System.mkfifo(file.path, 0o600)
        guard made == 0 else { throw systemError("it cannot be created") }
        guard let new = Descriptor(taking: System.openBeneath(root, path, flags)) else {
            throw systemError("it cannot be opened")
        }
        guard fchown(new.number, file.uid, file.gid) == 0, fchmod(new.number, file.mode & 0o7777) == 0 else {
            throw systemError("its owner and mode cannot be set")
        }
        try setTimes(of: file, new)
        return true
    }

    /// Gives a directory its owner and mode, unless the new system has changed them.
    private func setAttributes(
        of file: RecoveryManifest.File, _ directory: borrowing Descriptor, _ status: stat
    ) throws(AgentError) {
        let isSame = status.st_uid == file.uid && status.st_gid == file.gid && status.st_mode & 0o7777 == file.mode & 0o7777
        guard !isSame, file.isHeld || !isChangedAfterCrash(status) else { return }
        guard fchown(directory.number, file.uid, file.gid) == 0, fchmod(directory.number, file.mode & 0o7777) == 0 else {
            throw systemError("its owner and mode cannot be set")
        }
    }

    private mutating func makeLink(_ file: RecoveryManifest.File, _ root: borrowing Descriptor) throws(AgentError) {
        guard let target = file.target, !target.isEmpty, target.utf8.count < 4096, !target.utf8.contains(0) else {
            throw AgentError(description: "it is not known where the symbolic link leads")
        }
        try makeDirectories(parent(of: file.path))
        guard let place = Place(try relative(file.path), root) else { throw systemError("its directory cannot be opened") }
        if let present = place.status {
            if present.st_mode & S_IFMT == S_IFLNK, System.target(place.directory, place.name) == target { return }
            try makeRoom(for: file, present, root)
        }
        guard System.symlink(target, place.directory, place.name, uid: file.uid, gid: file.gid) == 0 else {
            throw systemError("it cannot be made")
        }
        let (accessed, modified) = (file.accessed?.specification, file.modified?.specification)
        guard System.setTimes(place.directory, place.name, accessed: accessed, modified: modified) == 0 else {
            throw systemError("its times cannot be set")
        }
        synchronizeDirectory(parent(of: file.path))
    }

    /// Whether the system that booted after the crash has given a file a name, or changed it in another way.
    func isChangedAfterCrash(_ status: stat) -> Bool {
        guard let crashedAt, !touched.contains(FileNumber(status)) else { return false }
        return Int64(status.st_ctim.tv_sec) > crashedAt &+ 1
    }

    /// Whether a file was written to by the system that booted after the crash; by the file's clock and the dead kernel's, one second being lost in
    /// rounding.
    func isNewerThanCrash(_ status: stat) -> Bool {
        guard let crashedAt, !touched.contains(FileNumber(status)) else { return false }
        return Int64(status.st_mtim.tv_sec) > crashedAt &+ 1
    }
}
