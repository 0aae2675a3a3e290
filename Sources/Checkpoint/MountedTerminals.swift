import ProcessModel

/// The pseudo terminals of a group in mount namespaces of its own, as a container has them: in a devpts that is mounted anew.
struct MountedTerminals: Sendable {
    private let mounts: GroupMounts
    /// Those that CRIU makes.
    private let made: [Terminal]

    init(_ mounts: GroupMounts, _ made: [Terminal]) {
        self.mounts = mounts
        self.made = made
    }

    private static let place: KernelString = "/dev/pts"

    /// A mount that shows a single terminal, as a container's runtime puts one on /dev/console, and its number.
    private struct Shown {
        var mount: Mount
        var number: UInt32
    }

    private var shown: [Shown] {
        mounts.members.flatMap(\.plan.namespace.mounts).compactMap { mount in
            guard mount.typeName == "devpts", mount.root.bytes.first == UInt8(ascii: "/"),
                let number = UInt32(String(decoding: mount.root.bytes.dropFirst(), as: UTF8.self))
            else { return nil }
            return Shown(mount: mount, number: number)
        }
    }

    private func makes(_ shown: Shown) -> Bool {
        made.contains { $0.filesystem == shown.mount.device && $0.number == shown.number }
    }

    var obstacles: [Obstacle] {
        var found: [Obstacle] = []
        let instances = mounts.root.plan.namespace.mounts.filter {
            $0.typeName == "devpts" && $0.root.bytes == [UInt8(ascii: "/")]
        }
        // CRIU looks for both ends at /dev/ptmx and /dev/pts (pty_alloc_reg of criu/tty.c).
        for terminal in made where !instances.contains(where: { $0.device == terminal.filesystem && $0.point == Self.place }) {
            let reason = "terminal \(terminal.name) is on a devpts that is not at /dev/pts in the group's mount namespace"
            found.append(Obstacle(.refused, pid: nil, reason: reason))
        }
        for one in shown {
            let place = "\(one.mount.point) in its mount namespace"
            if one.mount.guestPath != nil {
                found.append(Obstacle(.refused, pid: nil, reason: "\(place) is a terminal of the guest, which it has no more"))
            } else if !makes(one) {
                found.append(Obstacle(.degraded, pid: nil, reason: "\(place) is a terminal whose other end is gone"))
            }
        }
        return found
    }

    /// The terminals whose numbers are the guest's: nobody else may have them when CRIU makes them.
    static func numbersInGuest(of made: [Terminal], _ mounts: GroupMounts?) -> [UInt32] {
        made.filter { !(mounts?.isNew($0.filesystem) ?? false) }.compactMap(\.number)
    }

    /// Whether CRIU has to mount as it did before Linux 5.15: otherwise the master of a terminal that is shown somewhere is one of a place that nobody reaches any more
    /// (do_new_mount_v2 of criu/mount-v2.c opens it there), and cannot be saved another time.
    var needOldMounts: Bool {
        shown.contains { $0.mount.guestPath == nil && makes($0) }
    }
}
