import ProcessModel

/// `task_kobj_ids_entry` of images/core.proto: what tasks share, and which namespaces they are in.
///
/// CRIU only compares these numbers. Namespaces must be those of the inventory's root, or it would make new ones.
enum KernelObjectIDs {
    /// pid, net, ipc, uts, mnt, user.
    private static let namespaces: [UInt32] = [1, 2, 3, 4, 5, 6]
    /// Of a group's own namespaces.
    private static let ownPID: UInt32 = 11
    static let ownIPC: UInt32 = 13
    static let ownUTS: UInt32 = 14
    static let ownUsers: UInt32 = 10
    /// Of the group's root for 0, of those within it for the others.
    static func ownNetwork(_ index: Int) -> UInt32 { index == 0 ? 12 : 0x0100_0000 + UInt32(clamping: index) }
    /// Of the group's root for 0, of those within it for the others.
    static func ownMounts(_ index: Int) -> UInt32 { 15 + UInt32(clamping: index) }
    /// Above what a reader numbers.
    private static let outside: UInt32 = 0x7fff_0000

    /// The kinds of namespaces that have numbers here.
    static let kinds: [NamespaceKind] = [.pid, .network, .ipc, .uts, .mount, .user]

    /// The numbers of a process's namespaces, in the order of `kinds`.
    static func namespaces(of process: DeadProcess, in own: GroupNamespaces, _ users: GroupUsers) -> [UInt32] {
        var namespaces = namespaces
        if own.pidNumber != nil { namespaces[0] = ownPID }
        if let networks = own.networks { namespaces[1] = networks.id(of: process) }
        if own.ipc != nil { namespaces[2] = ownIPC }
        if own.uts != nil { namespaces[3] = ownUTS }
        if users.namespace != nil { namespaces[5] = ownUsers }
        if let mounts = own.mounts { namespaces[4] = mounts.id(of: process) }
        return namespaces
    }

    static func message(of process: DeadProcess, in own: GroupNamespaces, _ users: GroupUsers) -> ProtobufMessage {
        message(
            namespaces(of: process, in: own, users),
            memory: process.addressSpace?.rawValue ?? outside, files: process.descriptorTable?.rawValue ?? outside,
            filesystem: process.filesystemContext?.rawValue ?? outside, signals: process.signalActions?.rawValue ?? outside)
    }

    /// The ids of CRIU's own process at the dump, which shares nothing with the group but the namespaces.
    static var root: ProtobufMessage {
        message(
            namespaces, memory: outside + 1, files: outside + 1, filesystem: outside + 1, signals: outside + 1)
    }

    private static func message(
        _ namespaces: [UInt32], memory: UInt32, files: UInt32, filesystem: UInt32, signals: UInt32
    ) -> ProtobufMessage {
        ProtobufMessage { entry in
            entry.unsigned(1, memory)
            entry.unsigned(2, files)
            entry.unsigned(3, filesystem)
            entry.unsigned(4, signals)
            for (index, id) in namespaces.enumerated() { entry.unsigned(UInt32(5 + index), id) }
        }
    }
}
