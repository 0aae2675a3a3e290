import CLinux
import Glibc

/// Restores one group: `criu restore`, started in the group's cgroup, so that the processes wake up where they belong.
struct GroupRestore {
    let group: RecoveryManifest.Group
    /// The group's directory on the recovery volume.
    let directory: String
    /// How long CRIU may take before it and what it has made are killed.
    var timeoutSeconds: Double = 120

    /// Modules that CRIU needs to see the sockets of the system; `criu check` fails without them.
    static let kernelModules = [
        "unix_diag", "inet_diag", "tcp_diag", "udp_diag", "raw_diag", "netlink_diag", "af_packet_diag", "nfnetlink",
        "nf_tables",
        "tun", "veth",
    ]

    /// Restores the group. Fails with the reason, and then leaves no process of the group behind.
    func run() throws(AgentError) {
        let cgroup = try ControlGroup(group.name)
        guard !cgroup.isPopulated else {
            throw AgentError(description: "its cgroup \(cgroup.directory) already has processes")
        }
        if let taken = takenPID() { throw AgentError(description: taken) }
        try cgroup.create()
        let log = directory + "/restore.log"
        let program = ChildProgram(
            arguments: [
                "criu", "restore", "--images-dir", directory + "/images", "--restore-detached",
                // The agent has made the cgroup, and CRIU's children inherit it from CRIU.
                "--manage-cgroups=ignore", "--file-locks", "--log-file", log, "-v3",
            ], output: directory + "/restore.out", cgroup: cgroup)
        do throws(AgentError) {
            let status = try program.run(timeoutSeconds: timeoutSeconds)
            guard status == 0 else { throw AgentError(description: reason(inLog: log, status: status)) }
            guard group.rootPID <= 0 || cgroup.processes.contains(group.rootPID) else {
                throw AgentError(
                    description: "criu reported success, but process \(group.rootPID) is not in \(cgroup.directory)")
            }
        } catch {
            cgroup.kill()
            cgroup.waitUntilEmpty(timeoutMilliseconds: 2000)
            cgroup.removeIfEmpty()
            throw error
        }
    }

    /// Which process, if any, has a PID that the group needs.
    private func takenPID() -> String? {
        for process in group.processes {
            guard let owner = readText("/proc/\(process.pid)/comm") else { continue }
            return "PID \(process.pid) (\(process.command)) is taken by \(owner.prefix { $0 != "\n" }); "
                + "restart this domain with the agent's unit enabled, or end that process and run `xenpr-agent restore` again"
        }
        return nil
    }

    /// The first error in CRIU's log; the later ones follow from it.
    private func reason(inLog path: String, status: Int32) -> String {
        if status == ChildProgram.notFound { return "criu is not installed (apt install criu)" }
        let how = status & 0x7f == 0 ? "exit status \(status >> 8 & 0xff)" : "signal \(status & 0x7f)"
        let log = (try? readFile(path)).map { String(decoding: $0, as: UTF8.self) } ?? ""
        let errors = log.split(separator: "\n").compactMap { line -> Substring? in
            // "(00.012345)    501: Error (criu/files-reg.c:2154): File state has bad size 10 (expect 12)"
            guard let start = line.ranges(of: "Error (").first else { return nil }
            let rest = line[start.upperBound...]
            return rest.ranges(of: "): ").first.map { rest[$0.upperBound...] } ?? rest
        }
        guard let first = errors.first else { return "criu failed with \(how) and without an error in its log" }
        return "criu failed with \(how): \(first)"
    }
}

/// A program that the agent runs to its end.
struct ChildProgram {
    let arguments: [String]
    /// The file that takes its output; /dev/null when nil.
    var output: String?
    /// The cgroup that it runs in; the agent's own when nil.
    var cgroup: ControlGroup?

    /// The wait status of a program that could not be found.
    static let notFound: Int32 = 127 << 8

    /// Runs it and returns its wait status (`wait(2)`); kills it when it takes longer than the limit.
    func run(timeoutSeconds: Double) throws(AgentError) -> Int32 {
        let child = xpr_fork()
        if child == 0 { execute() }
        guard child > 0 else { throw systemError("cannot fork for \(arguments[0])") }
        let deadline = monotonicSeconds() + timeoutSeconds
        if let end = Descriptor(taking: xpr_pidfd_open(child)) {
            while System.poll([end.number], milliseconds: Int32(max(0, deadline - monotonicSeconds()) * 1000)) == nil {}
            if monotonicSeconds() >= deadline {
                kill(child, SIGKILL)
                _ = wait(child)
                throw AgentError(description: "\(arguments[0]) did not end within \(Int(timeoutSeconds)) s")
            }
        }
        return wait(child)
    }

    private func wait(_ child: pid_t) -> Int32 {
        var status: Int32 = 0
        // waitpid writes one Int32 to the address of a variable that lives across the call.
        while unsafe waitpid(child, &status, 0) < 0, errno == EINTR {}
        return status
    }

    private func execute() -> Never {
        xpr_reset_signals()
        if let cgroup, (try? cgroup.enter()) == nil { _exit(ExitCode.notExecutable) }
        let null = System.open("/dev/null", O_RDWR)
        let file = output.map { System.open($0, O_WRONLY | O_CREAT | O_TRUNC, 0o600) } ?? null
        guard null >= 0, file >= 0, System.chdir("/") == 0 else { _exit(ExitCode.notExecutable) }
        dup2(null, 0)
        dup2(file, 1)
        dup2(file, 2)
        xpr_close_from_on_exec(3)
        System.execute(arguments)
        _exit(errno == ENOENT ? ExitCode.notFound : ExitCode.notExecutable)
    }
}
