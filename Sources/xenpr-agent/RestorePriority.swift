import Glibc

/// Has what restores run before what is restored already: groups that compute would otherwise take the processors from those that still wait, and with every
/// group that is back the next one would take longer.
///
/// What CRIU makes gets the group's own priority from CRIU (`restore_sched_info` of criu/pie/restorer.c).
struct RestorePriority {
    /// The scheduler weighs the group of a session (kernel/sched/autogroup.c) by this, unless cgroups have the controller `cpu`.
    private static let sessionFile = "/proc/self/autogroup"

    init() { set(-20) }

    func end() { set(0) }

    private func set(_ nice: Int32) {
        setpriority(__priority_which_t(PRIO_PROCESS.rawValue), 0, nice)
        // A kernel without such groups has no such file.
        try? writeControlFile(Self.sessionFile, String(nice))
    }
}

extension GroupRestore {
    private static let weightFile = "/cpu.weight"

    /// Gives CRIU, which runs in the group's cgroup, the largest share of the processors where the controller `cpu` shares them between groups.
    mutating func raiseWeight(of cgroup: ControlGroup) {
        guard let weight = readText(cgroup.directory + Self.weightFile), let number = Int(weight.filter(\.isNumber)),
            (try? writeControlFile(cgroup.directory + Self.weightFile, "10000")) != nil
        else { return }
        weightBefore = number
    }

    func lowerWeight(of cgroup: ControlGroup) {
        guard let weightBefore else { return }
        try? writeControlFile(cgroup.directory + Self.weightFile, String(weightBefore))
    }
}
