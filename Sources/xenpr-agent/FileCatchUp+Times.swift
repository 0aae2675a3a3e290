import CLinux
import Glibc

extension FileCatchUp {
    /// Gives an open file the times that it had.
    func setTimes(of file: RecoveryManifest.File, _ target: borrowing Descriptor) throws(AgentError) {
        guard file.modified != nil || file.accessed != nil else { return }
        guard
            System.setTimes(target.number, accessed: file.accessed?.specification, modified: file.modified?.specification) == 0
        else { throw systemError("its times cannot be set") }
    }

    /// The directories that the new system has not changed, which get back the times that they had once all names in them are as they were.
    ///
    /// To be asked before the first of them is touched. Without the time of the crash, what is new cannot be told from what is old.
    func directoriesOfBefore(_ files: [RecoveryManifest.File], _ root: borrowing Descriptor) -> [RecoveryManifest.File] {
        guard crashedAt != nil else { return [] }
        var directories: [RecoveryManifest.File] = []
        for file in files where file.mode & S_IFMT == S_IFDIR {
            guard let path = try? relative(file.path) else { continue }
            if let existing = Descriptor(taking: System.openBeneath(root, path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW)),
                let status = System.status(existing.number)
            {
                if isNewerThanCrash(status) { continue }
            }
            directories.append(file)
        }
        return directories
    }

    /// What is below a directory comes first, for nothing in it may be opened by its name afterwards.
    mutating func setTimes(ofDirectories directories: [RecoveryManifest.File], _ root: borrowing Descriptor) {
        for file in directories.reversed() {
            guard let path = try? relative(file.path),
                let directory = Descriptor(taking: System.openBeneath(root, path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW))
            else { continue }
            do throws(AgentError) { try setTimes(of: file, directory) } catch { note(error, at: file.path) }
        }
    }
}

extension RecoveryManifest.Time {
    var specification: timespec { timespec(tv_sec: time_t(seconds), tv_nsec: Int(nanoseconds)) }
}
