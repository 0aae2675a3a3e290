import Glibc

/// Keeps the places of pseudo terminals (/dev/pts/N) free for the groups that had them.
///
/// The kernel gives a new pseudo terminal the lowest free number, and CRIU opens new ones until one has the number that it wants. So every number up
/// to the largest is taken here first, and those of a group are let go when its CRIU starts; nobody else can get them then.
final class PseudoTerminals {
    private var masters: [Int: Int32] = [:]
    /// Numbers that somebody else has in the new system.
    private let taken: Set<Int>

    /// More would leave too few of the 1024 descriptors that a service may have; CRIU then fails where a number is not the next one.
    private static let limit = 512

    init(for groups: [RecoveryManifest.Group]) {
        let wanted = Set(groups.flatMap(\.pseudoTerminals)).filter { 0...Self.limit ~= $0 }
        guard let largest = wanted.max() else {
            taken = []
            return
        }
        // Each round takes the lowest free number, so the largest is passed before there are more rounds than numbers.
        for _ in 0...largest {
            let descriptor = System.open("/dev/ptmx", O_RDWR | O_NOCTTY)
            guard descriptor >= 0 else { break }
            guard let number = System.pseudoTerminalNumber(descriptor), number <= largest else {
                close(descriptor)
                break
            }
            masters[number] = descriptor
        }
        taken = wanted.subtracting(masters.keys)
    }

    deinit { for descriptor in masters.values { close(descriptor) } }

    /// Lets go of the numbers of `group`. Fails when somebody else has one.
    func release(_ group: RecoveryManifest.Group) throws(AgentError) {
        if let number = group.pseudoTerminals.first(where: taken.contains) {
            throw AgentError(
                description: "/dev/pts/\(number), which it needs, is in use already; "
                    + "see that xenpr-agent.service is enabled and comes before what opens terminals")
        }
        for number in group.pseudoTerminals { if let descriptor = masters.removeValue(forKey: number) { close(descriptor) } }
    }
}
