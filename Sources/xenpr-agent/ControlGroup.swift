import CLinux
import Glibc

/// The cgroup (v2) of one group: `/xenpr/NAME` below the mount point of the unified hierarchy (`kernel/cgroup/cgroup.c`).
///
/// It lies outside of every systemd unit: systemd ends neither the group's processes when the session or the service that
/// started them ends, nor restored ones when the agent's own unit does.
struct ControlGroup {
    let name: GroupName
    /// The directory of the cgroup in the file system.
    let directory: String

    /// The group's cgroup, whether it exists or not.
    init(_ name: GroupName) throws(AgentError) {
        self.name = name
        directory = try Self.mountPoint() + "/xenpr/\(name)"
    }

    /// Where cgroup v2 is mounted: /sys/fs/cgroup, or /sys/fs/cgroup/unified on a system with both versions.
    static func mountPoint() throws(AgentError) -> String {
        let mounts = String(decoding: try readFile("/proc/self/mounts"), as: UTF8.self)
        for line in mounts.split(separator: "\n") {
            let fields = line.split(separator: " ")
            if fields.count > 2, fields[2] == "cgroup2" { return String(fields[1]) }
        }
        throw AgentError(
            description: "cannot find a mounted cgroup v2: groups are cgroups; mount one with "
                + "`mount -t cgroup2 none /sys/fs/cgroup` or boot with systemd.unified_cgroup_hierarchy=1")
    }

    /// Whether a process, zombies not counted, lives in the cgroup or below it. False when the cgroup does not exist.
    var isPopulated: Bool {
        readText(directory + "/cgroup.events")?.split(separator: "\n").contains("populated 1") ?? false
    }

    /// Makes the cgroup. One that exists and is empty is used again.
    func create() throws(AgentError) {
        try makeDirectories(directory)
        guard System.isWritable(directory + "/cgroup.procs") else {
            throw systemError("cannot add processes to \(directory)")
        }
    }

    /// Moves the calling process into the cgroup; what it forks or executes from then on starts there.
    func enter() throws(AgentError) {
        try writeControlFile(directory + "/cgroup.procs", "0")
    }

    /// Removes the cgroup and those below it, as far as they are empty.
    func removeIfEmpty() {
        for directory in directories.reversed() { System.rmdir(directory) }
    }

    /// Of the cgroup and of those below it, each after the one it lies in.
    private var directories: [String] {
        var found = [directory]
        var index = 0
        while index < found.count {
            for name in System.list(found[index]) where System.exists("\(found[index])/\(name)/cgroup.procs") {
                found.append("\(found[index])/\(name)")
            }
            index += 1
        }
        return found
    }

    /// Kills every process in the cgroup (`cgroup.kill`, Linux 5.14), or each that is listed on an older kernel.
    func kill() {
        if (try? writeControlFile(directory + "/cgroup.kill", "1")) != nil { return }
        for process in processes { _ = Glibc.kill(process, SIGKILL) }
    }

    /// Waits until no process is left, at most so long. Signals that come through a signalfd meanwhile are handed to every
    /// process of the group.
    func waitUntilEmpty(timeoutMilliseconds: Int32 = -1, signals: Int32 = -1) {
        let path = directory + "/cgroup.events"
        let deadline = monotonicSeconds() + Double(timeoutMilliseconds) / 1000
        while let events = Descriptor(taking: System.open(path, O_RDONLY)) {
            // The kernel notifies of changes since the last read, so the state is read from the same open file. Reading fails
            // once the cgroup is removed.
            guard let bytes = try? events.readAll(limit: 4096, of: path),
                String(decoding: bytes, as: UTF8.self).split(separator: "\n").contains("populated 1")
            else { return }
            if timeoutMilliseconds >= 0, monotonicSeconds() >= deadline { return }
            // poll skips a descriptor of -1.
            let ready = System.poll([(events.number, POLLPRI), (signals, POLLIN)], milliseconds: timeoutMilliseconds)
            if let ready, ready[1] {
                let signal = xpr_read_signalfd(signals)
                for process in processes where signal > 0 { _ = Glibc.kill(process, signal) }
            }
        }
    }

    /// The processes in the cgroup and in those below it.
    var processes: [pid_t] {
        directories.flatMap { directory in
            (readText(directory + "/cgroup.procs") ?? "").split(separator: "\n").compactMap { pid_t($0) }.filter { $0 > 0 }
        }
    }
}
