import ProcessModel

/// The namespaces that some process of a group is in: a descriptor can lead to these only, for CRIU opens them as files of that process in /proc.
struct InhabitedNamespaces: Sendable {
    private struct Name: Hashable {
        var kind: NamespaceKind
        var number: UInt32
    }

    private var ids: [Name: UInt32] = [:]

    /// Of nobody.
    static let none = InhabitedNamespaces()

    private init() {}

    init(_ processes: [DeadProcess], in own: GroupNamespaces, _ users: GroupUsers) {
        // A zombie has left its namespaces.
        for process in processes where process.addressSpace != nil {
            for (kind, id) in zip(KernelObjectIDs.kinds, KernelObjectIDs.namespaces(of: process, in: own, users)) {
                ids[Name(kind: kind, number: process.namespaces.number(kind))] = id
            }
        }
    }

    /// The number that CRIU's images have for a namespace; nil: no process of the group is in it.
    func id(_ kind: NamespaceKind, _ number: UInt32) -> UInt32? { ids[Name(kind: kind, number: number)] }

    func assess(_ kind: NamespaceKind, _ number: UInt32) -> FileAssessment {
        if id(kind, number) != nil { return .full }
        guard KernelObjectIDs.kinds.contains(kind) else { return .refused("a \(kind.fileName) namespace") }
        return .refused("a \(kind.fileName) namespace that no process of the group is in")
    }
}
