/// What an inotify instance watches, and what it has not told yet.
public struct Inotify: Sendable, Hashable {
    /// `struct inotify_inode_mark`.
    public struct Watch: Sendable, Hashable {
        /// The number that inotify_add_watch(2) returned.
        public var descriptor: Int32
        /// A name of the inode; nil when it has none any more.
        public var path: KernelString?
        /// Of an inode that the guest's own mounts do not show: a name in its filesystem.
        public var pathInFilesystem: KernelString?
        /// A mount of the namespace in which it has its path; nil: that of the group's root.
        public var mountID: Int32?
        public var device: UInt64
        public var inode: UInt64
        /// IN_*, as they were asked for.
        public var mask: UInt32

        public init(descriptor: Int32, path: KernelString?, device: UInt64, inode: UInt64, mask: UInt32) {
            self.descriptor = descriptor
            self.path = path
            self.device = device
            self.inode = inode
            self.mask = mask
        }
    }

    /// In the order of their descriptors.
    public var watches: [Watch]
    /// Events that nobody has read yet (`fsnotify_group.q_len`).
    public var unreadEvents: UInt32

    public init(watches: [Watch], unreadEvents: UInt32) {
        self.watches = watches
        self.unreadEvents = unreadEvents
    }
}
