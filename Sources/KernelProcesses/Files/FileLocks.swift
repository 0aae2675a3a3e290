import GuestMemory
import KernelObjects
import KernelTypes
import ProcessModel

/// `struct file_lock_context` and `struct file_lock` (include/linux/filelock.h).
struct FileLockLayout: Sendable {
    let flockList: Field
    let posixList: Field
    let leaseList: Field
    // Moved into `struct file_lock_core` in Linux 6.9 (commit a69ce85ec9af).
    let link: Field
    let owner: Field
    let flags: Field
    let type: Field
    let file: Field
    let start: Field
    let end: Field

    init(_ types: TypeTable) throws(KernelError) {
        let context = try types.structure("file_lock_context")
        flockList = try context.field("flc_flock")
        posixList = try context.field("flc_posix")
        leaseList = try context.field("flc_lease")
        let lock = try types.structure("file_lock")
        link = try lock.field(anyOf: "c.flc_list", "fl_list")
        owner = try lock.field(anyOf: "c.flc_owner", "fl_owner")
        flags = try lock.field(anyOf: "c.flc_flags", "fl_flags")
        type = try lock.field(anyOf: "c.flc_type", "fl_type")
        file = try lock.field(anyOf: "c.flc_file", "fl_file")
        start = try lock.field("fl_start")
        end = try lock.field("fl_end")
    }
}

extension FileReader {
    private static let lockLimit = 1 << 16
    /// FL_OFDLCK, FL_UNLOCK_PENDING and FL_DOWNGRADE_PENDING (include/linux/filelock.h).
    private static let openFileDescriptionFlag: UInt64 = 1024
    private static let unlockPendingFlag: UInt64 = 512
    private static let downgradePendingFlag: UInt64 = 256
    /// OFFSET_MAX: up to the end of the file.
    private static let lastOffset: UInt64 = 0x7fff_ffff_ffff_ffff

    /// Reads the locks on all files of the group; those that others hold ended with the kernel.
    mutating func readLocks() {
        guard let contextField = layout.inode.lockContext else { return }
        for inode in Set(inodes.values).sorted() {
            do throws(MemoryFault) {
                let context = try kernel.pointer(contextField, of: inode)
                if context.isNull { continue }
                for (list, kind) in [
                    (layout.locks.posixList, FileLock.Kind.posix), (layout.locks.flockList, .flock),
                    (layout.locks.leaseList, .lease(breakingTo: nil)),
                ] {
                    var locks: [VirtualAddress] = []
                    let fault = kernel.forEach(onList: context + list.offset, link: layout.locks.link, limit: Self.lockLimit) {
                        locks.append($0)
                    }
                    if let fault { throw fault }
                    for lock in locks { try readLock(at: lock, kind: kind, inode: inode) }
                }
            } catch {
                gaps.append(Gap(object: "inode \(inode)", field: "i_flctx", fault: error))
                obstacles.append(
                    Obstacle(.refused, pid: nil, reason: "the locks on one of its files could not be read: \(error)"))
            }
        }
    }

    private mutating func readLock(at lock: VirtualAddress, kind list: FileLock.Kind, inode: VirtualAddress) throws(MemoryFault)
    {
        let fields = layout.locks
        let flags = try kernel.value(fields.flags, of: lock)
        let isOfDescription = flags & Self.openFileDescriptionFlag != 0
        let owner: (pid: Int32, descriptor: Int32)?
        if list == .posix, !isOfDescription {
            // The owner of a POSIX lock is the table of descriptors.
            guard let table = tableIDs[try kernel.pointer(fields.owner, of: lock)] else { return }
            let isExclusive = try kernel.value(fields.type, of: lock) & 3 == 1
            owner = holder(
                ofFilesOn: inode, in: table, preferred: fileIDs[try kernel.pointer(fields.file, of: lock)], writes: isExclusive)
        } else {
            guard let file = fileIDs[try kernel.pointer(fields.file, of: lock)] else { return }
            owner = holder(of: file)
        }
        guard let owner else {
            obstacles.append(Obstacle(.degraded, pid: nil, reason: "a lock on a file of which no descriptor is left is lost"))
            return
        }
        var kind = list
        if isOfDescription { kind = .openFileDescription }
        // As `target_leasetype` of fs/locks.c tells.
        if case .lease = kind {
            kind = .lease(
                breakingTo: flags & Self.unlockPendingFlag != 0
                    ? .unlocked : flags & Self.downgradePendingFlag != 0 ? .read : nil)
        }
        // A lease is on the whole file; since 6.9 (commit c69ff4071935, `struct file_lease`) it has no range.
        var (start, end): (UInt64, UInt64) = (0, Self.lastOffset)
        if list != .lease(breakingTo: nil) {
            start = try kernel.value(fields.start, of: lock)
            end = try kernel.value(fields.end, of: lock)
        }
        fileLocks.append(
            FileLock(
                kind: kind,
                isExclusive: try kernel.value(fields.type, of: lock) & 3 == 1,
                pid: owner.pid, descriptor: owner.descriptor, start: start,
                length: end >= Self.lastOffset || end < start ? 0 : end - start + 1))
    }

    /// The descriptor that a lock is set through: that of the file it was set through, or another that may set it (F_WRLCK wants one for writing, F_RDLCK one for reading).
    private func holder(
        ofFilesOn inode: VirtualAddress, in table: DescriptorTableID, preferred: FileID?, writes: Bool
    ) -> (Int32, Int32)? {
        guard let pid = tableHolders[table]?.first else { return nil }
        let descriptors = (descriptorTables[table]?.descriptors ?? []).filter { inodes[$0.file] == inode }
        let fitting = descriptors.first { descriptor in
            // O_RDONLY 0, O_WRONLY 1
            openFiles[descriptor.file].map { $0.flags & 3 != (writes ? 0 : 1) } ?? false
        }
        let descriptor = descriptors.first { $0.file == preferred } ?? fitting ?? descriptors.first
        return descriptor.map { (pid, $0.number) }
    }

    private func holder(of file: FileID) -> (Int32, Int32)? {
        for (table, contents) in descriptorTables.sorted(by: { $0.key < $1.key }) {
            guard let descriptor = contents.descriptors.first(where: { $0.file == file }), let pid = tableHolders[table]?.first
            else { continue }
            return (pid, descriptor.number)
        }
        return nil
    }
}
