import CLinux
import Glibc

extension FileCatchUp {
    /// Gives a file its name back that it has under another one in the same directory: it was renamed, or linked, and the disk did not learn of it.
    /// - Returns: whether there was such a file.
    func restoreName(_ file: RecoveryManifest.File, _ root: borrowing Descriptor) throws(AgentError) -> Bool {
        let path = try relative(file.path)
        let components = path.split(separator: "/")
        let above = components.dropLast().joined(separator: "/")
        guard let name = components.last.map(String.init), file.inode != 0,
            let directory = Descriptor(taking: System.openBeneath(root, above.isEmpty ? "." : above, O_RDONLY | O_DIRECTORY)),
            let place = System.status(directory.number)
        else { return false }
        func status(_ name: String) -> stat? {
            System.status(directory, name).flatMap { $0.st_dev == place.st_dev && $0.st_mode & S_IFMT == S_IFREG ? $0 : nil }
        }
        let old = System.list(parent(of: file.path)).first { other in
            guard other != name, let found = status(other), UInt64(found.st_ino) == file.inode else { return false }
            // A number that the new system gave to a file of its own says nothing.
            return !isNewerThanCrash(found)
        }
        guard let old else { return false }
        if status(name) != nil {
            try setAside(RecoveryManifest.Removed(path: file.path, inode: nil), root, keepsNewer: false)
        }
        let done = file.links > 1 ? System.link(directory, old, to: name) : System.rename(directory, old, within: name)
        guard done == 0 else { throw systemError("it cannot be given its name in place of \(old)") }
        return true
    }
}
