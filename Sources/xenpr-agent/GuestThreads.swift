import CLinux
import Glibc

/// The threads of a restored group under the ids that the guest's own pid namespace gives them.
struct GuestThreads {
    private let hasNamespace: Bool
    private let cgroup: ControlGroup
    /// By the id in the group's own pid namespace.
    private var guestIDs: [pid_t: pid_t] = [:]

    init(_ group: RecoveryManifest.Group, in cgroup: ControlGroup) {
        hasNamespace = group.hasPIDNamespace
        self.cgroup = cgroup
        guard hasNamespace else { return }
        for process in cgroup.processes {
            for name in entries(of: "/proc/\(process)/task") {
                guard let tid = pid_t(name), let status = readText("/proc/\(process)/task/\(tid)/status") else { continue }
                // "NSpid:\t2412\t7": in the guest's namespace first, in its own last. CRIU, which runs in the cgroup too, has no other than the guest's.
                let line = status.split(separator: "\n").first { $0.hasPrefix("NSpid:") }
                let ids = line?.split(whereSeparator: \.isWhitespace).dropFirst().compactMap { pid_t($0) } ?? []
                if ids.count > 1, let own = ids.last { guestIDs[own] = tid }
            }
        }
    }

    /// The guest's id of a thread of the group; nil when it is not there.
    subscript(_ id: pid_t) -> pid_t? { hasNamespace ? guestIDs[id] : id }

    /// A copy of a descriptor that a process has (pidfd_getfd(2)). The ids come from the volume: only a process of the group is touched.
    func descriptor(_ number: Int32, of process: pid_t) throws(AgentError) -> Descriptor {
        guard let pid = self[process], contains(process) else {
            throw AgentError(description: "process \(process) is not in the group's cgroup")
        }
        guard let copy = Descriptor(taking: xpr_take_descriptor(pid, number)) else {
            throw systemError("cannot take descriptor \(number) of process \(process)")
        }
        return copy
    }

    /// Whether a process of this id is in the group's cgroup.
    func contains(_ id: pid_t) -> Bool { hasNamespace ? guestIDs[id] != nil : cgroup.processes.contains(id) }
}
