import CLinux
import Glibc

extension FileCatchUp {
    /// A name in an open directory, and what it leads to.
    struct Place: ~Copyable {
        let directory: Descriptor
        let name: String
        /// nil: to nothing. A symbolic link is itself.
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

    /// Gives a file another name, which it had.
    /// - Parameter other: a name that it has already.
    mutating func giveName(_ file: RecoveryManifest.File, of other: String, _ root: borrowing Descriptor) throws(AgentError) {
        try makeDirectories(parent(of: file.path))
        guard let old = Place(try relative(other), root), let status = old.status, status.st_mode & S_IFMT == S_IFREG else {
            throw AgentError(description: "the file \(other), whose name it was, is not there")
        }
        guard let new = Place(try relative(file.path), root) else { throw systemError("its directory cannot be opened") }
        if let present = new.status {
            if present.st_ino == status.st_ino, present.st_dev == status.st_dev { return }
            try makeRoom(for: file, present, root)
        }
        guard System.link(old.directory, old.name, to: new.directory, new.name) == 0 else {
            throw systemError("it cannot be made a name of \(other)")
        }
    }

    /// Sets aside what has a file's name now, unless the new system has made it.
    mutating func makeRoom(for file: RecoveryManifest.File, _ present: stat, _ root: borrowing Descriptor) throws(AgentError) {
        guard !isNewerThanCrash(present) else {
            throw AgentError(description: "the new system has made something of its name, and it stays as it is")
        }
        try setAside(RecoveryManifest.Removed(path: file.path, inode: nil), root, keepsNewer: true)
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
                UInt64(status.st_ino) == file.inode, status.st_mode & S_IFMT == file.mode & S_IFMT,
                // A number that the new system gave to a file of its own says nothing.
                !isNewerThanCrash(status)
            else { continue }
            if new.status != nil {
                try setAside(RecoveryManifest.Removed(path: file.path, inode: nil), root, keepsNewer: false)
            }
            let done =
                file.links > 1 && file.mode & S_IFMT == S_IFREG
                ? System.link(old.directory, old.name, to: new.directory, new.name)
                : System.rename(old.directory, old.name, to: new.directory, new.name)
            guard done == 0 else { throw systemError("it cannot be given its name in place of \(other)") }
            return true
        }
        return false
    }

    /// The names in a directory that it did not have: they were removed or renamed, and the disk did not learn of it.
    func strayNames(in listing: RecoveryManifest.Listing) -> [RecoveryManifest.Removed] {
        // Something may be mounted there now, or the directory be another one. Without the time of the crash, what is new cannot be told from what is old.
        guard crashedAt != nil, listing.path == "/" || (try? relative(listing.path)) != nil,
            let directory = Descriptor(taking: System.open(listing.path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW)),
            let status = System.status(directory.number), UInt64(status.st_ino) == listing.inode
        else { return [] }
        let above = listing.path == "/" ? "" : listing.path
        return System.list(listing.path).filter { !listing.names.contains($0) }.map {
            RecoveryManifest.Removed(path: above + "/" + $0, inode: nil)
        }
    }

    /// The names that an inode has in the directories that changed before the crash.
    private func names(of inode: UInt64) -> [String] { namesByInode?[inode] ?? [] }

    /// They are looked through once.
    mutating func lookForNames() {
        var found: [UInt64: [String]] = [:]
        for directory in changedDirectories {
            guard let opened = Descriptor(taking: System.open(directory, O_RDONLY | O_DIRECTORY | O_NOFOLLOW)) else { continue }
            for name in System.list(directory) {
                guard let status = System.status(opened, name), [S_IFREG, S_IFDIR].contains(status.st_mode & S_IFMT) else {
                    continue
                }
                found[UInt64(status.st_ino), default: []].append((directory == "/" ? "" : directory) + "/" + name)
            }
        }
        namesByInode = found
    }
}
