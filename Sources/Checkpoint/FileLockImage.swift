import ProcessModel

/// `file_lock_entry` of images/file-lock.proto: locks that CRIU takes again for the processes (criu/file-lock.c).
enum FileLockImage {
    /// FL_POSIX, FL_FLOCK, FL_OFD and FL_LEASE of criu/include/file-lock.h.
    private static func flag(_ kind: FileLock.Kind) -> UInt32 {
        switch kind {
        case .posix: 1
        case .flock: 2
        case .openFileDescription: 4
        case .lease: 8
        }
    }

    /// F_RDLCK, F_WRLCK and F_UNLCK, for flock too; of a lease that is being broken LEASE_BREAKING and what it becomes.
    private static func type(of lock: FileLock) -> UInt32 {
        switch lock.kind {
        case .lease(breakingTo: .read): 4
        case .lease(breakingTo: .unlocked): 4 | 2
        default: lock.isExclusive ? 1 : 0
        }
    }

    /// nil for a lock that cannot be taken again.
    static func message(of lock: FileLock) -> ProtobufMessage? {
        guard lock.start <= UInt64(Int64.max), lock.length <= UInt64(Int64.max) - lock.start,
            lock.pid > 0, lock.descriptor >= 0
        else { return nil }
        return ProtobufMessage { entry in
            entry.unsigned(1, flag(lock.kind))
            entry.unsigned(2, type(of: lock))
            entry.unsigned(3, UInt32(lock.pid))
            entry.unsigned(4, UInt32(lock.descriptor))
            entry.unsigned(5, lock.start)
            entry.unsigned(6, lock.length)
        }
    }
}
