/// A lock on a file that a process of the group holds (`struct file_lock`).
public struct FileLock: Sendable, Hashable {
    public enum Kind: Sendable, Hashable {
        /// `fcntl(F_SETLK)`: belongs to the process.
        case posix
        /// `flock`: belongs to the open file description.
        case flock
        /// `fcntl(F_OFD_SETLK)`: belongs to the open file description.
        case openFileDescription
        /// `fcntl(F_SETLEASE)`; while somebody who opened the file waits for its end, what it is to become.
        case lease(breakingTo: LeaseTarget?)
    }

    /// What a lease becomes when it is broken.
    public enum LeaseTarget: Sendable, Hashable {
        case read, unlocked
    }

    public var kind: Kind
    /// F_WRLCK or LOCK_EX; otherwise F_RDLCK or LOCK_SH.
    public var isExclusive: Bool
    /// A process that holds it.
    public var pid: Int32
    /// A descriptor of that process that leads to the file.
    public var descriptor: Int32
    /// First byte.
    public var start: UInt64
    /// 0: up to the end of the file, however it grows.
    public var length: UInt64

    public init(kind: Kind, isExclusive: Bool, pid: Int32, descriptor: Int32, start: UInt64, length: UInt64) {
        self.kind = kind
        self.isExclusive = isExclusive
        self.pid = pid
        self.descriptor = descriptor
        self.start = start
        self.length = length
    }
}
