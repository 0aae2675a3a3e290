/// `struct user_namespace` (include/linux/user_namespace.h).
public struct UserNamespace: Sendable, Hashable {
    public var users: IDMap
    public var groups: IDMap
    /// How many namespaces it lies in; that of the guest's init process is 0.
    public var level: UInt32
    /// Who made it, as the guest's initial namespace counts users: it has all capabilities in it.
    public var owner: UInt32
    /// `USERNS_SETGROUPS_ALLOWED` is not in its flags: what /proc/PID/setgroups calls "deny".
    public var deniesSetgroups: Bool

    public init(users: IDMap, groups: IDMap, level: UInt32 = 1, owner: UInt32 = 0, deniesSetgroups: Bool = false) {
        self.users = users
        self.groups = groups
        self.level = level
        self.owner = owner
        self.deniesSetgroups = deniesSetgroups
    }
}

/// `struct uid_gid_map`: which numbers of the guest's initial namespace have which number in another.
public struct IDMap: Sendable, Hashable {
    /// `struct uid_gid_extent`. The kernel keeps `lower_first` as a number of the initial namespace, whatever lies between (map_write, kernel/user_namespace.c).
    public struct Extent: Sendable, Hashable {
        public var first: UInt32
        public var lowerFirst: UInt32
        public var count: UInt32

        public init(first: UInt32, lowerFirst: UInt32, count: UInt32) {
            self.first = first
            self.lowerFirst = lowerFirst
            self.count = count
        }
    }

    public var extents: [Extent]

    public init(_ extents: [Extent]) { self.extents = extents }

    /// The number that one of the initial namespace has in this one; nil: none.
    public func inside(_ id: UInt32) -> UInt32? {
        Self.find(id, extents.lazy.map { ($0.lowerFirst, $0.first, $0.count) })
    }

    /// The number in the initial namespace of one of this; nil: it stands for nobody.
    public func outside(_ id: UInt32) -> UInt32? {
        Self.find(id, extents.lazy.map { ($0.first, $0.lowerFirst, $0.count) })
    }

    private static func find(_ id: UInt32, _ ranges: some Sequence<(from: UInt32, to: UInt32, count: UInt32)>) -> UInt32? {
        for range in ranges where id >= range.from && id - range.from < range.count {
            let (number, overflows) = range.to.addingReportingOverflow(id - range.from)
            return overflows ? nil : number
        }
        return nil
    }
}
