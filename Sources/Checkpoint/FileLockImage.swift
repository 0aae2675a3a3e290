import ProcessModel

/// `file_lock_entry` of images/file-lock.proto: locks that CRIU takes again for the processes (criu/file-lock.c).
enum FileLockImage {
    /// FL_POSIX, FL_FLOCK and FL_OFD of criu/include/file-lock.h.
    private static func flag(_ kind: FileLock.Kind) -> UInt32? {
        switch kind {
        case .posix: 1
        case .flock: 2
        case .openFileDescription: 4
        // Whether a lease was being broken, and by whom, is not known any more.
        case .lease: nil
        }
    }

    /// nil for a lock that cannot be taken again.
    static func message(of lock: FileLock) -> ProtobufMessage? {
        guard let flag = flag(lock.kind), lock.start <= UInt64(Int64.max), lock.length <= UInt64(Int64.max) - lock.start,
            lock.pid > 0, lock.descriptor >= 0
        else { return nil }
        return ProtobufMessage { entry in
            entry.unsigned(1, flag)
            // F_WRLCK and F_RDLCK, for flock too.
            entry.unsigned(2, lock.isExclusive ? UInt32(1) : 0)
            entry.unsigned(3, UInt32(lock.pid))
            entry.unsigned(4, UInt32(lock.descriptor))
            entry.unsigned(5, lock.start)
            entry.unsigned(6, lock.length)
        }
    }
}
