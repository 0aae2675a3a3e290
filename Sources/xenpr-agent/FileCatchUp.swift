import CLinux
import Glibc

/// Brings files to what the dead processes had seen: pages that were only in the dead kernel's page cache, sizes, and files that
/// were made or removed after the last write of the journal.
///
/// The list comes from a dead kernel's memory and is not trusted: a path is opened without following symbolic links, and only
/// regular files are written to.
struct FileCatchUp {
    /// Where the recovery volume is mounted.
    let volume: String
    /// The recovery's id; a safe file name.
    let recovery: String
    /// Seconds since the epoch, by the dead kernel's clock; nil: not known.
    let crashedAt: Int64?
    /// Files that could not be brought to that state exactly, with the reason.
    private(set) var problems: [Problem] = []
    /// Directories in which names came, went or changed.
    private(set) var changedDirectories: [String] = []
    /// Names that led to nothing any more.
    private(set) var removedPaths: Set<String> = []
    /// Where regular files are in these directories; nil: not looked yet.
    var namesByInode: [UInt64: [String]]?
    /// What the catch-up itself has written to: their times say nothing any more.
    var touched: Set<FileNumber> = []
    private var setAsideCount = 0
    /// How many files were written to, and how many bytes.
    private(set) var files = 0
    private(set) var bytes = 0

    struct FileNumber: Hashable {
        let device: dev_t
        let inode: ino_t

        init(_ status: stat) {
            device = status.st_dev
            inode = status.st_ino
        }
    }

    struct Problem {
        let path: String
        let reason: String
    }

    init(volume: String, recovery: String, crashedAt: Int64? = nil) {
        self.volume = volume
        self.recovery = recovery
        self.crashedAt = crashedAt
    }

    /// Applies everything; what fails becomes a problem and does not stop the rest.
    mutating func apply(
        files: [RecoveryManifest.File], removed: [RecoveryManifest.Removed], directories: [RecoveryManifest.Listing] = []
    ) {
        guard let root = Descriptor(taking: System.open("/", O_RDONLY | O_DIRECTORY)) else { return }
        changedDirectories = ["/"] + files.filter { $0.mode & S_IFMT == S_IFDIR }.map(\.path)
        removedPaths = Set(removed.map(\.path))
        let directoriesOfBefore = directoriesOfBefore(files, root)
        // Before a file is set aside whose other name is wanted.
        lookForNames()
        // Other names of files come after the files.
        for file in files.filter({ $0.otherName == nil }) + files.filter({ $0.otherName != nil }) {
            do throws(AgentError) {
                if let other = file.otherName { try giveName(file, of: other, root) } else { try catchUp(file, root) }
            } catch {
                note(error, at: file.path)
            }
        }
        // Last, for a file may first have to be found under a name that it had no longer.
        let wanted = Set(files.map(\.path))
        for entry in removed + directories.flatMap(strayNames).filter({ !wanted.contains($0.path) }) {
            do throws(AgentError) {
                try setAside(entry, root, keepsNewer: true)
            } catch {
                note(error, at: entry.path)
            }
        }
        setTimes(ofDirectories: directoriesOfBefore, root)
        sync()
    }

    mutating func note(_ error: AgentError, at path: String) { problems.append(Problem(path: path, reason: error.description)) }

    /// Makes one file what it was.
    private mutating func catchUp(
        _ file: RecoveryManifest.File, _ root: borrowing Descriptor, looksForName: Bool = true
    ) throws(AgentError) {
        if try makeOtherKind(file, root) { return }
        let path = try relative(file.path)
        guard file.size >= 0 else { throw AgentError(description: "its size \(file.size) is not a size") }
        guard let existing = Descriptor(taking: System.openBeneath(root, path, O_RDWR | O_NOFOLLOW | O_NONBLOCK)) else {
            guard errno == ENOENT else { throw systemError("it cannot be opened") }
            if looksForName, try restoreName(file, root) { return try catchUp(file, root, looksForName: false) }
            guard isComplete(file) else {
                throw AgentError(description: "it is gone, and only part of its content was in memory")
            }
            return try create(file, at: path, root)
        }
        guard let status = System.status(existing.number), status.st_mode & S_IFMT == S_IFREG else {
            throw AgentError(description: "it is no regular file now")
        }
        guard file.isHeld || !isNewerThanCrash(status) else {
            throw AgentError(description: "the new system has written to it, and it stays as it is")
        }
        if UInt64(status.st_ino) == file.inode {
            try write(file, to: existing, isNew: false)
            files += 1
            return
        }
        if looksForName, try restoreName(file, root) { return try catchUp(file, root, looksForName: false) }
        // Another file has the name now. Where the saved pages do not make up the whole content, what the process had seen
        // cannot be put together, and the file that is there stays as it is.
        guard isComplete(file) else {
            throw AgentError(description: "it is another file now (inode \(status.st_ino), \(file.inode) before)")
        }
        try setAside(RecoveryManifest.Removed(path: file.path, inode: nil), root, keepsNewer: false)
        try create(file, at: path, root)
    }

    /// Makes a file that is not there, and the directories above it.
    private mutating func create(_ file: RecoveryManifest.File, at path: String, _ root: borrowing Descriptor)
        throws(AgentError)
    {
        let directory = parent(of: file.path)
        try makeDirectories(directory)
        guard let new = Descriptor(taking: System.openBeneath(root, path, O_RDWR | O_CREAT | O_EXCL, 0o600)) else {
            throw systemError("it cannot be created")
        }
        do throws(AgentError) {
            try write(file, to: new, isNew: true)
        } catch {
            // Half a file would be taken for a whole one.
            System.unlink(file.path)
            throw error
        }
        synchronizeDirectory(directory)
        files += 1
    }

    /// Writes the extents, the size, when they differ owner and mode, and last the times.
    private mutating func write(_ file: RecoveryManifest.File, to target: borrowing Descriptor, isNew: Bool) throws(AgentError)
    {
        guard let status = System.status(target.number) else { throw systemError("its status cannot be read") }
        touched.insert(FileNumber(status))
        // What somebody has put there since is not between the extents.
        if file.isWhole, ftruncate(target.number, 0) != 0 { throw systemError("it cannot be emptied") }
        if let content = file.content {
            let name = try relative("/" + content)
            guard name.hasPrefix("files/"), let directory = Descriptor(taking: System.open(volume, O_RDONLY | O_DIRECTORY)),
                let source = Descriptor(taking: System.openBeneath(directory, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK))
            else { throw systemError("its saved content \(content) cannot be opened") }
            for extent in file.extents { try copy(extent, from: source, to: target, size: file.size) }
        }
        guard ftruncate(target.number, off_t(file.size)) == 0 else {
            throw systemError("its size cannot be set to \(file.size)")
        }
        if status.st_uid != file.uid || status.st_gid != file.gid, fchown(target.number, file.uid, file.gid) != 0 {
            throw systemError("its owner cannot be set to \(file.uid):\(file.gid)")
        }
        let mode = file.mode & 0o7777
        if status.st_mode & 0o7777 != mode || isNew, fchmod(target.number, mode) != 0 {
            throw systemError("its mode cannot be set")
        }
        try setTimes(of: file, target)
    }

    private mutating func copy(
        _ extent: RecoveryManifest.Extent, from source: borrowing Descriptor, to target: borrowing Descriptor, size: Int64
    ) throws(AgentError) {
        var done: Int64 = 0
        // The last page of a file reaches beyond its end.
        let (end, overflow) = extent.fileOffset.addingReportingOverflow(extent.length)
        guard extent.fileOffset >= 0, extent.length >= 0, extent.contentOffset >= 0, !overflow,
            extent.contentOffset <= Int64.max - extent.length
        else { throw AgentError(description: "its saved extents are damaged") }
        let length = min(end, size) - extent.fileOffset
        var buffer = [UInt8](repeating: 0, count: 256 << 10)
        while done < length {
            let wanted = Int(min(Int64(buffer.count), length - done))
            let got = System.readAt(source.number, into: &buffer, count: wanted, offset: extent.contentOffset + done)
            guard got > 0 else {
                throw got == 0
                    ? AgentError(description: "its saved content is too short") : systemError("its content cannot be read")
            }
            var wrote = 0
            while wrote < got {
                let step = System.writeAt(target.number, buffer, wrote..<got, offset: extent.fileOffset + done + Int64(wrote))
                guard step > 0 else { throw systemError("it cannot be written") }
                wrote += step
            }
            done += Int64(got)
            bytes += got
        }
    }

    /// Whether all of the file is known: the extents cover it, or what they leave out is zeros.
    func isComplete(_ file: RecoveryManifest.File) -> Bool {
        if file.isWhole { return true }
        var reached: Int64 = 0
        for extent in file.extents.sorted(by: { $0.fileOffset < $1.fileOffset }) {
            guard extent.fileOffset <= reached, extent.length >= 0 else { return false }
            reached = max(reached, extent.fileOffset.addingReportingOverflow(extent.length).partialValue)
        }
        return reached >= file.size
    }

    /// Moves a file that the dead processes had removed, and that is back, out of the way; nothing is ever deleted.
    mutating func setAside(
        _ entry: RecoveryManifest.Removed, _ root: borrowing Descriptor, keepsNewer: Bool
    ) throws(AgentError) {
        let path = try relative(entry.path)
        guard let place = Place(path, root) else {
            if errno == ENOENT { return }
            throw systemError("its directory cannot be opened to set it aside")
        }
        // Sockets and devices are made anew by whoever uses them.
        guard let status = place.status, [S_IFREG, S_IFDIR, S_IFLNK, S_IFIFO].contains(status.st_mode & S_IFMT) else { return }
        // Another file of that name is none of ours, nor is one that the new system made.
        if let inode = entry.inode, UInt64(status.st_ino) != inode { return }
        if keepsNewer, isNewerThanCrash(status) || isChangedAfterCrash(status) { return }
        let directory = "/var/lib/xenpr/set-aside/\(recovery)"
        try makeDirectories(directory, mode: 0o700)
        let target = directory + "/" + path.split(separator: "/").joined(separator: "%")
        // A name that is too long for one component keeps its end, with the inode to tell it from others.
        let refuge =
            target.utf8.count - directory.utf8.count > 250
            ? directory + "/\(status.st_ino)-"
                + String(decoding: path.utf8.suffix(120).map { $0 == 0x2f ? 0x25 : $0 }, as: UTF8.self)
            : target
        // Two names may make one refuge.
        let free = System.exists(refuge) ? directory + "/\(status.st_ino)-\(setAsideCount)" : refuge
        setAsideCount += 1
        var now = free
        // The name is looked up in the directory that was reached without symbolic links.
        if System.rename(place.directory, place.name, to: free) != 0 {
            guard errno == EXDEV else { throw systemError("it cannot be moved to \(free)") }
            // On another file system it stays where it is, under a name that says what it is.
            now = "/\(path).xenpr-\(recovery)"
            guard System.rename(place.directory, place.name, to: now) == 0 else { throw systemError("it cannot be set aside") }
        }
        // Another name of the dead system's may lead to it.
        if namesByInode != nil { namesByInode?[UInt64(status.st_ino), default: []].append(now) }
        synchronizeDirectory(parent(of: "/" + path))
    }
}

/// An absolute path without its leading slash; refuses one that could lead elsewhere than it says.
func relative(_ path: String) throws(AgentError) -> String {
    guard path.utf8.first == UInt8(ascii: "/"), path.utf8.count > 1, path.utf8.count < 4096, !path.utf8.contains(0) else {
        throw AgentError(description: "its path is not absolute")
    }
    let components = path.dropFirst().split(separator: "/", omittingEmptySubsequences: false)
    guard components.allSatisfy({ !$0.isEmpty && $0 != "." && $0 != ".." }) else {
        throw AgentError(description: "its path is not in its plain form")
    }
    return components.joined(separator: "/")
}
