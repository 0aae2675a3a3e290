/// A fanotify group: what it watches, and what it has not told yet.
public struct Fanotify: Sendable, Hashable {
    /// `struct fsnotify_mark` of a fanotify group.
    public struct Mark: Sendable, Hashable {
        public enum Target: Sendable, Hashable {
            /// A file or directory: its number, and a name of it; nil when it has none any more.
            case inode(UInt64, path: KernelString?)
            /// All of a mount: its `mnt_id`, and where the guest has it; nil when it is not in the guest's own mount namespace.
            case mount(Int32, path: KernelString?)
            /// FAN_MARK_FILESYSTEM.
            case filesystem
            /// FAN_MARK_MNTNS, and what may come after it.
            case other
        }

        public var target: Target
        /// `s_dev` of the filesystem.
        public var device: UInt64 = 0
        /// FAN_*, the events that were asked for.
        public var mask: UInt32
        /// FAN_*, the events that are left out.
        public var ignoredMask: UInt32
        /// FAN_MARK_IGNORED_SURV_MODIFY.
        public var survivesModification = false
        /// FAN_MARK_EVICTABLE.
        public var isEvictable = false
        /// FAN_MARK_IGNORE, whose masks tell children and directories apart.
        public var ignoresByFlags = false

        public init(target: Target, mask: UInt32, ignoredMask: UInt32 = 0) {
            self.target = target
            self.mask = mask
            self.ignoredMask = ignoredMask
        }
    }

    /// FAN_*, as fanotify_init(2) was given them.
    public var flags: UInt32
    /// O_* of the descriptors that come with events.
    public var eventFlags: UInt32
    /// Whoever made it was not allowed to ask for more than events of files that it could see.
    public var isUnprivileged = false
    /// In the kernel's order.
    public var marks: [Mark] = []
    /// Events that nobody has read yet (`q_len`), permission requests among them.
    public var unreadEvents: UInt32 = 0
    /// Permission requests that were read and not answered.
    public var unansweredRequests: UInt32 = 0

    public init(flags: UInt32, eventFlags: UInt32) {
        self.flags = flags
        self.eventFlags = eventFlags
    }
}
