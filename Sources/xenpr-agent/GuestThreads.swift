import CLinux
import Glibc

/// The threads of a restored group under the ids that the guest's own pid namespace gives them.
struct GuestThreads {
    /// By the id in the group's own pid namespace, or the guest's if it has none.
    private var guestIDs: [pid_t: pid_t] = [:]

    init(_ group: RecoveryManifest.Group, in cgroup: ControlGroup) {
        for process in cgroup.processes {
            for name in entries(of: "/proc/\(process)/task") {
                guard let tid = pid_t(name) else { continue }
                guard group.hasPIDNamespace else {
                    guestIDs[tid] = tid
                    continue
                }
                guard let status = readText("/proc/\(process)/task/\(tid)/status") else { continue }
                // "NSpid:\t2412\t7": in the guest's namespace first, in its own last. CRIU, which runs in the cgroup too, has no other than the guest's.
                let line = status.split(separator: "\n").first { $0.hasPrefix("NSpid:") }
                let ids = line?.split(whereSeparator: \.isWhitespace).dropFirst().compactMap { pid_t($0) } ?? []
                if ids.count > 1, let own = ids.last { guestIDs[own] = tid }
            }
        }
    }

    /// The guest's id of a thread of the group; nil when it is not there. The ids that are asked for come from the volume: only what is in the group's cgroup is
    /// touched.
    subscript(_ id: pid_t) -> pid_t? { guestIDs[id] }

    /// A copy of a descriptor that a process has (pidfd_getfd(2)).
    func descriptor(_ number: Int32, of process: pid_t) throws(AgentError) -> Descriptor {
        guard let pid = self[process] else {
            throw AgentError(description: "process \(process) is not in the group's cgroup")
        }
        guard let copy = Descriptor(taking: xpr_take_descriptor(pid, number)) else {
            throw systemError("cannot take descriptor \(number) of process \(process)")
        }
        return copy
    }

    /// Whether a process of this id is in the group's cgroup.
    func contains(_ id: pid_t) -> Bool { guestIDs[id] != nil }
}
