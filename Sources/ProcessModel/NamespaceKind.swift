/// The kinds of namespaces by the flag of clone(2) that makes one (CLONE_NEW*, include/uapi/linux/sched.h).
public enum NamespaceKind: UInt32, Sendable, Hashable {
    case time = 0x80
    case mount = 0x2_0000
    case cgroup = 0x200_0000
    case uts = 0x400_0000
    case ipc = 0x800_0000
    case user = 0x1000_0000
    case pid = 0x2000_0000
    case network = 0x4000_0000

    /// Its file in /proc/N/ns.
    public var fileName: String {
        switch self {
        case .time: "time"
        case .mount: "mnt"
        case .cgroup: "cgroup"
        case .uts: "uts"
        case .ipc: "ipc"
        case .user: "user"
        case .pid: "pid"
        case .network: "net"
        }
    }
}

extension Namespaces {
    /// The number of the one that a task is in.
    public func number(_ kind: NamespaceKind) -> UInt32 {
        switch kind {
        case .time: time
        case .mount: mount
        case .cgroup: cgroup
        case .uts: uts
        case .ipc: ipc
        case .user: user
        case .pid: pid
        case .network: network
        }
    }
}
