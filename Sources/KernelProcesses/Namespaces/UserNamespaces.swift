import GuestMemory
import KernelObjects
import KernelTypes
import ProcessModel

/// `struct user_namespace` and `struct uid_gid_map` (include/linux/user_namespace.h).
struct UserNamespaceLayout: Sendable {
    let users, groups: Field
    let count: Field
    /// Up to five extents are in the map itself, more in an array of their own.
    let embedded, array: Field
    let first, lowerFirst, extentCount: Field
    let extentSize: Int
    let level, owner, flags: Field
    /// Which user namespace another namespace belongs to, by the type's name.
    private let owners: [String: Field]

    static let ownedTypes = [
        "uts_namespace", "ipc_namespace", "mnt_namespace", "net", "time_namespace", "cgroup_namespace", "pid_namespace",
    ]

    /// nil for a kernel without user namespaces (CONFIG_USER_NS), in which all is the initial one's.
    init?(_ types: TypeTable) {
        do throws(KernelError) {
            let namespace = try types.structure("user_namespace")
            users = try namespace.field("uid_map")
            groups = try namespace.field("gid_map")
            level = try namespace.field("level")
            owner = try namespace.field("owner.val")
            flags = try namespace.field("flags")
            let map = try types.structure("uid_gid_map")
            count = try map.field("nr_extents")
            embedded = try map.field("extent")
            array = try map.field("forward")
            let extent = try types.structure("uid_gid_extent")
            first = try extent.field("first")
            lowerFirst = try extent.field("lower_first")
            extentCount = try extent.field("count")
            extentSize = extent.size
            var owners: [String: Field] = [:]
            for type in Self.ownedTypes where types.has(type) { owners[type] = try types.structure(type).field("user_ns") }
            self.owners = owners
        } catch {
            return nil
        }
    }

    func owner(of type: String) -> Field? { owners[type] }
}

extension GroupBuilder {
    /// UID_GID_MAP_MAX_BASE_EXTENTS and UID_GID_MAP_MAX_EXTENTS of include/linux/user_namespace.h.
    private static let embeddedExtents = 5
    private static let extentLimit = 340
    /// USERNS_SETGROUPS_ALLOWED
    private static let allowsSetgroups: UInt64 = 1

    func userNamespace(at namespace: VirtualAddress, _ layout: UserNamespaceLayout) throws(MemoryFault) -> UserNamespace {
        let reader = kernel.reader
        return UserNamespace(
            users: try map(at: namespace + layout.users.offset, layout),
            groups: try map(at: namespace + layout.groups.offset, layout),
            level: try reader.uint32(layout.level, of: namespace), owner: try reader.uint32(layout.owner, of: namespace),
            deniesSetgroups: try reader.value(layout.flags, of: namespace) & Self.allowsSetgroups == 0)
    }

    private func map(at map: VirtualAddress, _ layout: UserNamespaceLayout) throws(MemoryFault) -> IDMap {
        let reader = kernel.reader
        let count = Int(try reader.uint32(layout.count, of: map))
        guard count <= Self.extentLimit else { throw MemoryFault(.damaged("map of \(count) extents"), at: map) }
        let start = count <= Self.embeddedExtents ? map + layout.embedded.offset : try reader.pointer(layout.array, of: map)
        var extents: [IDMap.Extent] = []
        for index in 0..<count {
            let extent = start + index * layout.extentSize
            extents.append(
                IDMap.Extent(
                    first: try reader.uint32(layout.first, of: extent),
                    lowerFirst: try reader.uint32(layout.lowerFirst, of: extent),
                    count: try reader.uint32(layout.extentCount, of: extent)))
        }
        return IDMap(extents)
    }

    /// Notes which user namespace a namespace of the group belongs to.
    mutating func noteOwner(of namespace: VirtualAddress, number: UInt32, type: String) throws(MemoryFault) {
        guard let field = kernel.layout.users?.owner(of: type), group.namespaceOwners[number] == nil else { return }
        let owner = try kernel.reader.pointer(field, of: namespace)
        group.namespaceOwners[number] = try kernel.reader.uint32(kernel.layout.namespaces.userNumber, of: owner)
    }
}
