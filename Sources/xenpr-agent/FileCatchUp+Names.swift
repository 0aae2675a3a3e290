import CLinux
import Glibc

extension FileCatchUp {
    /// A name in an open directory, and what it leads to.
    private struct Place: ~Copyable {
        let directory: Descriptor
        let name: String
        /// nil: to nothing.
        let status: stat?
        /// The filesystem that the directory is on.
        let device: dev_t

        init?(_ path: String, _ root: borrowing Descriptor) {
            let components = path.split(separator: "/")
            let above = components.dropLast().joined(separator: "/")
            guard let name = components.last.map(String.init),
                let directory = Descriptor(
                    taking: System.openBeneath(root, above.isEmpty ? "." : above, O_RDONLY | O_DIRECTORY)),
                let own = System.status(directory.number)
            else { return nil }
            status = System.status(directory, name)
            device = own.st_dev
            self.name = name
            self.directory = directory
        }
    }

    /// Gives a file its name back that it has under another one: it was renamed, or linked, and the disk did not learn of it.
    /// - Returns: whether there was such a file.
    mutating func restoreName(_ file: RecoveryManifest.File, _ root: borrowing Descriptor) throws(AgentError) -> Bool {
        let path = try relative(file.path)
        guard let new = Place(path, root) else { return false }
        for other in names(of: file.inode) where other != file.path {
            // The number can have been given anew after the other file was removed; that one is set aside whole.
            if removedPaths.contains(other), isComplete(file) { continue }
            guard let old = Place(try relative(other), root), let status = old.status, status.st_dev == new.device,
                UInt64(status.st_ino) == file.inode, status.st_mode & S_IFMT == S_IFREG,
                // A number that the new system gave to a file of its own says nothing.
                !isNewerThanCrash(status)
            else { continue }
            if new.status != nil {
                try setAside(RecoveryManifest.Removed(path: file.path, inode: nil), root, keepsNewer: false)
            }
            let done =
                file.links > 1
                ? System.link(old.directory, old.name, to: new.directory, new.name)
                : System.rename(old.directory, old.name, to: new.directory, new.name)
            guard done == 0 else { throw systemError("it cannot be given its name in place of \(other)") }
            return true
        }
        return false
    }

    /// The names that an inode has in the directories that changed before the crash. They are looked through once.
    private mutating func names(of inode: UInt64) -> [String] {
        if let namesByInode { return namesByInode[inode] ?? [] }
        var found: [UInt64: [String]] = [:]
        for directory in changedDirectories {
            guard let opened = Descriptor(taking: System.open(directory, O_RDONLY | O_DIRECTORY | O_NOFOLLOW)) else { continue }
            for name in System.list(directory) {
                guard let status = System.status(opened, name), status.st_mode & S_IFMT == S_IFREG else { continue }
                found[UInt64(status.st_ino), default: []].append((directory == "/" ? "" : directory) + "/" + name)
            }
        }
        namesByInode = found
        return found[inode] ?? []
    }
}
