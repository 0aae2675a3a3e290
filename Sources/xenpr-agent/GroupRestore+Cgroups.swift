import CLinux
import Glibc

/// The cgroups below a group's own, and what limits all of them.
extension GroupRestore {
    /// Makes them, under the controllers that they were under. What they lack then is told when the group is back.
    mutating func makeCgroups(in cgroup: ControlGroup) throws(AgentError) {
        let mountPoint = try ControlGroup.mountPoint()
        for item in group.cgroups {
            let directory = directory(of: item.path, in: cgroup)
            try makeDirectories(directory)
            for controller in item.controllers {
                do throws(AgentError) {
                    try enable(controller, above: directory, from: mountPoint)
                } catch {
                    cgroupProblems.append("cgroup \(directory) is not under the controller \(controller) any more: \(error)")
                }
            }
        }
    }

    /// Hands a controller on from the hierarchy's root to a cgroup.
    private func enable(_ controller: String, above directory: String, from mountPoint: String) throws(AgentError) {
        let place = parent(of: directory).dropFirst(mountPoint.count).split(separator: "/")
        for depth in 0...place.count {
            let file = ([Substring(mountPoint)] + place.prefix(depth) + ["cgroup.subtree_control"]).joined(separator: "/")
            if readText(file)?.split(whereSeparator: \.isWhitespace).contains(Substring(controller)) == true { continue }
            try writeControlFile(file, "+" + controller)
        }
    }

    /// A cgroup namespace has to belong to the group's own user namespace, if it has one, within which only CRIU can make it.
    var letsCRIUMakeCgroupNamespace: Bool { group.hasUserNamespace && group.cgroupRoot != nil }

    /// The agent has made the cgroups, and what CRIU makes begins in that of CRIU. "none" lets CRIU move processes, with their namespace, to cgroups that exist.
    var cgroupOptions: [String] {
        letsCRIUMakeCgroupNamespace ? ["--manage-cgroups=none", "--cgroup-yard", yard] : ["--manage-cgroups=ignore"]
    }

    private var yard: String { "/run/xenpr/cgroups/\(group.name)" }

    /// Shows CRIU the hierarchy where it looks for it. Its own mount of it would take the guest's options from all others (apply_cgroup_root_flags,
    /// kernel/cgroup/cgroup.c).
    func showCgroups() throws(AgentError) {
        guard letsCRIUMakeCgroupNamespace else { return }
        let place = yard + "/unified"
        try makeDirectories(place, mode: 0o700)
        guard System.mount(try ControlGroup.mountPoint(), place, "none", UInt(MS_BIND)) == 0 else {
            throw systemError("cannot show CRIU the cgroups at \(place)")
        }
    }

    func hideCgroups() {
        guard letsCRIUMakeCgroupNamespace else { return }
        System.unmount(yard + "/unified")
        System.rmdir(yard + "/unified")
        System.rmdir(yard)
    }

    /// Where CRIU runs: what it makes begins there. A cgroup namespace gets its root from where CRIU makes it, so with one there is no choice.
    private var startingPlace: String {
        group.cgroupRoot ?? group.processes.first { $0.pid == group.rootPID }?.cgroup ?? ""
    }

    func startDirectory(in cgroup: ControlGroup) -> String { directory(of: startingPlace, in: cgroup) }

    private func directory(of place: String, in cgroup: ControlGroup) -> String {
        place.isEmpty ? cgroup.directory : cgroup.directory + "/" + place
    }

    /// Moves the processes that were elsewhere than CRIU, and gives the cgroups their limits. Returns what could not be done.
    ///
    /// The limits come last: CRIU needs more memory and processes than the group.
    func completeCgroups() -> [String] {
        guard let cgroup = try? ControlGroup(group.name) else { return ["its cgroups have no limits"] }
        lowerWeight(of: cgroup)
        var problems = cgroupProblems
        let threads = GuestThreads(group, in: cgroup)
        for process in group.processes where process.cgroup != startingPlace {
            guard let pid = threads[process.pid], !isZombie(pid) else { continue }
            let directory = directory(of: process.cgroup, in: cgroup)
            do throws(AgentError) { try writeControlFile(directory + "/cgroup.procs", "\(pid)") } catch {
                problems.append("process \(process.pid) (\(process.command)) is not in cgroup \(directory): \(error)")
            }
        }
        for item in group.cgroups {
            let directory = directory(of: item.path, in: cgroup)
            for filter in item.deviceFilters where !attach(filter, to: directory) {
                problems.append("a filter of devices of cgroup \(directory) is gone: \(errorText(errno))")
            }
            for setting in item.settings {
                do throws(AgentError) { try writeControlFile("\(directory)/\(setting.name)", setting.value) } catch {
                    problems.append("\(setting.name) of cgroup \(directory) is not \(setting.value) any more: \(error)")
                }
            }
        }
        return problems
    }

    /// The state in /proc/PID/stat comes behind the name, which is in parentheses.
    private func isZombie(_ pid: pid_t) -> Bool {
        guard let stat = readText("/proc/\(pid)/stat"), let end = stat.lastIndex(of: ")") else { return true }
        return stat[end...].dropFirst(2).first == "Z"
    }

    private func attach(_ filter: RecoveryManifest.DeviceFilter, to directory: String) -> Bool {
        guard let cgroup = Descriptor(taking: System.open(directory, O_RDONLY | O_DIRECTORY)) else { return false }
        return System.filterDevices(of: cgroup.number, filter.instructions, filter.flags) == 0
    }
}
