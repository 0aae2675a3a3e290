/// A key that is the same for everybody who shares one kernel object, and differs between two objects of a group. The reader of the
/// dead kernel numbers the objects from 1 in the order in which it meets them; 0 is never used (CRIU takes it for "none").
public protocol SharedObjectID: RawRepresentable, Hashable, Comparable, Sendable, CustomStringConvertible
where RawValue == UInt32 {
    init(rawValue: UInt32)
}

extension SharedObjectID {
    public static func < (left: Self, right: Self) -> Bool { left.rawValue < right.rawValue }
    public var description: String { "\(rawValue)" }
}

/// One `struct file`: an open file description, shared by `dup`, `fork` and mappings.
public struct FileID: SharedObjectID {
    public let rawValue: UInt32
    public init(rawValue: UInt32) { self.rawValue = rawValue }
}

/// One `struct files_struct`: a table of descriptors.
public struct DescriptorTableID: SharedObjectID {
    public let rawValue: UInt32
    public init(rawValue: UInt32) { self.rawValue = rawValue }
}

/// One `struct fs_struct`: working directory, root and umask.
public struct FilesystemContextID: SharedObjectID {
    public let rawValue: UInt32
    public init(rawValue: UInt32) { self.rawValue = rawValue }
}

/// One `struct mm_struct`.
public struct AddressSpaceID: SharedObjectID {
    public let rawValue: UInt32
    public init(rawValue: UInt32) { self.rawValue = rawValue }
}

/// One `struct sighand_struct`: a table of signal actions.
public struct SignalActionsID: SharedObjectID {
    public let rawValue: UInt32
    public init(rawValue: UInt32) { self.rawValue = rawValue }
}

/// One inode of the kernel's internal tmpfs: a shared anonymous mapping or a memfd.
public struct SharedMemoryID: SharedObjectID {
    public let rawValue: UInt32
    public init(rawValue: UInt32) { self.rawValue = rawValue }
}

/// One pipe (`struct pipe_inode_info`).
public struct PipeID: SharedObjectID {
    public let rawValue: UInt32
    public init(rawValue: UInt32) { self.rawValue = rawValue }
}

/// An inode of a filesystem, by the numbers that programs see.
public struct InodeIdentity: Hashable, Sendable {
    /// `s_dev`.
    public var device: UInt64
    public var inode: UInt64

    public init(device: UInt64, inode: UInt64) {
        self.device = device
        self.inode = inode
    }
}
