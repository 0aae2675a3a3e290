import CLinux
import Glibc

/// Restores one group: `criu restore`, started in the group's cgroup, so that the processes wake up where they belong, or are moved there.
struct GroupRestore {
    let group: RecoveryManifest.Group
    /// The group's directory on the recovery volume.
    let directory: String
    /// How long CRIU, whose images are read in no time, and other programs may take before they are killed.
    var timeoutSeconds: Double = 120
    /// Why the group's TCP connections are cut.
    var connectionProblem: String?
    /// What its cgroups lack.
    var cgroupProblems: [String] = []
    /// The weight of the group's cgroup, if it is another one while CRIU runs.
    var weightBefore: Int?

    /// Modules that CRIU needs to see the sockets of the system; `criu check` fails without them.
    static let kernelModules = [
        "unix_diag", "inet_diag", "tcp_diag", "udp_diag", "raw_diag", "netlink_diag", "af_packet_diag", "nfnetlink",
        "nf_tables",
        "tun", "veth", "bridge",
    ]

    private var log: String { directory + "/restore.log" }

    /// Starts CRIU in the group's new cgroup. Fails with the reason when the group cannot be there beside what runs now.
    mutating func start(queues: inout PosixQueues) throws(AgentError) -> RunningProgram {
        let cgroup = try ControlGroup(group.name)
        guard !cgroup.isPopulated else {
            throw AgentError(description: "its cgroup \(cgroup.directory) already has processes")
        }
        if let taken = takenPID() { throw AgentError(description: taken) }
        do throws(AgentError) {
            return try start(in: cgroup, queues: &queues)
        } catch {
            queues.giveUp(group.name)
            release()
            lowerWeight(of: cgroup)
            cgroup.removeIfEmpty()
            throw error
        }
    }

    private mutating func start(in cgroup: ControlGroup, queues: inout PosixQueues) throws(AgentError) -> RunningProgram {
        try prepareLinks()
        try checkRequirements()
        try cgroup.create()
        try makeCgroups(in: cgroup)
        raiseWeight(of: cgroup)
        try mountRoot()
        try reservePages()
        try lendImages()
        try showCgroups()
        lockConnections()
        loadModules()
        if group.disablesHugePages { try haveKernelExamined() }
        try leaveOwnManifest()
        let lent = try LentFiles(group.lentFiles, images: directory + "/images", of: group.name, queues: &queues)
        let program = ChildProgram(
            arguments: [
                "criu", "restore", "--images-dir", directory + "/images", "--restore-detached",
                "--file-locks",
                connectionProblem == nil && !group.connections.isEmpty ? "--tcp-established" : "--tcp-close",
                "--log-file", log, "-v3", "--action-script", try System.ownProgram(),
            ] + mountOptions + cgroupOptions + linkOptions + lent.options, output: directory + "/restore.out",
            cgroup: startDirectory(in: cgroup),
            disablesHugePages: group.disablesHugePages, lent: lent.numbers,
            // The C library registers a restartable sequence for CRIU itself, which each restored process inherits until CRIU takes
            // it back. Before 5.13 the kernel does not tell CRIU its size, and CRIU 3.17.1 takes 20 from glibc 2.36 where the kernel
            // takes 32 only: then the kernel writes into memory that is gone, and kills the process. So CRIU runs without one.
            environment: [("GLIBC_TUNABLES", "glibc.pthread.rseq=0")]
                + CompletionHook.environment(directory), liftsLimits: true,
            hasCgroupNamespace: group.cgroupRoot != nil && !letsCRIUMakeCgroupNamespace)
        return try program.start(timeoutSeconds: timeoutSeconds + secondsToReadImages)
    }

    /// Takes away what is there for CRIU only.
    private func release() {
        unlockConnections()
        hideCgroups()
    }

    /// What a slow disk needs, at 10 MiB/s.
    private var secondsToReadImages: Double {
        let path = directory + "/images"
        guard let images = Descriptor(taking: System.open(path, O_RDONLY | O_DIRECTORY)) else { return 0 }
        let bytes = System.list(path).reduce(0.0) { sum, name in
            sum + Double(System.status(images, name)?.st_size ?? 0)
        }
        return bytes / Double(10 << 20)
    }

    /// CRIU that does not know the kernel yet tries what PR_SET_THP_DISABLE does, and leaves it off (kerndat_has_thp_disable of criu/kerndat.c); it keeps what it
    /// has found out in a file.
    private func haveKernelExamined() throws(AgentError) {
        guard !System.exists("/run/criu.kdat") else { return }
        try ChildProgram(arguments: ["criu", "check"]).run(timeoutSeconds: timeoutSeconds)
    }

    /// Where CRIU finds what is mounted in the group's own mount namespace, and its root.
    private var mountOptions: [String] {
        guard let root = group.mountRoot else { return [] }
        return ["--root", root] + (group.needsOldMounts ? ["--mntns-compat-mode"] : [])
            + group.mounts.flatMap { ["--external", "mnt[\($0.key)]:\($0.path)"] }
    }

    /// Takes the result of CRIU's end. Fails with the reason, and then leaves no process of the group behind.
    func finish(_ running: RunningProgram) throws(AgentError) {
        let cgroup = try ControlGroup(group.name)
        defer { release() }
        do throws(AgentError) {
            let status = try running.finish()
            guard status == 0 else { throw AgentError(description: reason(status: status)) }
            guard group.rootPID <= 0 || GuestThreads(group, in: cgroup).contains(group.rootPID) else {
                throw AgentError(
                    description: "criu reported success, but process \(group.rootPID) is not in \(cgroup.directory)")
            }
        } catch {
            cgroup.kill()
            cgroup.waitUntilEmpty(timeoutMilliseconds: 2000)
            lowerWeight(of: cgroup)
            cgroup.removeIfEmpty()
            throw error
        }
    }

    /// Sets what CRIU does not (see `ThreadAttributes`). Returns what could not be set.
    func completeThreads() -> [String] {
        var problems: [String] = []
        let changed = group.processes.flatMap(\.threads)
        guard !changed.isEmpty else { return [] }
        guard let cgroup = try? ControlGroup(group.name) else {
            return ["its threads have the default CPUs, priorities and timer slack"]
        }
        let threads = GuestThreads(group, in: cgroup)
        for thread in changed {
            guard let tid = threads[thread.tid] else {
                problems.append(
                    "thread \(thread.tid) has lost its CPUs, priorities and timer slack: it is not in the group's cgroup")
                continue
            }
            if let cpus = thread.cpus, !System.setAffinity(of: tid, to: cpus) {
                problems.append("thread \(thread.tid) may run on any CPU: \(errorText(errno))")
            }
            if let slack = thread.timerSlackNanoseconds,
                (try? writeControlFile("/proc/\(tid)/timerslack_ns", String(slack))) == nil
            {
                problems.append("the timers of thread \(thread.tid) have the default slack")
            }
            if let priority = thread.ioPriority, xpr_set_io_priority(tid, priority) != 0 {
                problems.append("thread \(thread.tid) has the default I/O priority: \(errorText(errno))")
            }
            if let filter = thread.coredumpFilter,
                (try? writeControlFile("/proc/\(tid)/coredump_filter", String(filter))) == nil
            {
                problems.append("process \(thread.tid) has the default core dump filter")
            }
        }
        return problems
    }

    /// Gives the root of the group's mount namespace its flags: CRIU binds it as the guest has it, and may have to write to it (`cr_pivot_root` of
    /// criu/mount.c makes a directory). Returns what could not be set.
    func completeRoot() -> [String] {
        guard let flags = group.mountRootFlags, group.mountRoot != nil else { return [] }
        guard let cgroup = try? ControlGroup(group.name), let root = GuestThreads(group, in: cgroup)[group.rootPID],
            let namespace = Descriptor(taking: System.open("/proc/\(root)/ns/mnt", O_RDONLY))
        else { return ["the root of its mount namespace has the guest's flags"] }
        let error = inChild { xpr_remount_root(namespace.number, UInt(flags)) == 0 ? 0 : errno }
        return error == 0 ? [] : ["the root of its mount namespace has the guest's flags: \(errorText(error))"]
    }

    /// Does something in a process of its own, which may go into namespaces that nobody comes back from.
    /// - Returns: the error number that `body` returned, 0 for none.
    func inChild(_ body: () -> Int32) -> Int32 {
        let child = xpr_fork()
        if child == 0 { _exit(body()) }
        guard child > 0 else { return errno }
        var status: Int32 = -1
        // waitpid writes one Int32 to the address of a variable that lives across the call.
        while unsafe waitpid(child, &status, 0) < 0, errno == EINTR {}
        return status & 0x7f == 0 ? status >> 8 & 0xff : EINTR
    }

    /// Which process, if any, has a PID that the group needs.
    private func takenPID() -> String? {
        if group.hasPIDNamespace { return nil }
        for process in group.processes {
            guard let owner = readText("/proc/\(process.pid)/comm") else { continue }
            return "PID \(process.pid) (\(process.command)) is taken by \(owner.prefix { $0 != "\n" }); "
                + "see that xenpr-agent.service is enabled and comes before what starts it"
        }
        return nil
    }

    /// The first error in CRIU's log; the later ones follow from it.
    private func reason(status: Int32) -> String {
        if status == ChildProgram.notFound { return "criu is not installed (apt install criu)" }
        let how = status & 0x7f == 0 ? "exit status \(status >> 8 & 0xff)" : "signal \(status & 0x7f)"
        let text = (try? readFile(log)).map { String(decoding: $0, as: UTF8.self) } ?? ""
        let errors = text.split(separator: "\n").compactMap { line -> Substring? in
            // "(00.012345)    501: Error (criu/files-reg.c:2154): File state has bad size 10 (expect 12)"
            guard let start = line.ranges(of: "Error (").first else { return nil }
            let rest = line[start.upperBound...]
            return rest.ranges(of: "): ").first.map { rest[$0.upperBound...] } ?? rest
        }
        guard let first = errors.first else { return "criu failed with \(how) and without an error in its log" }
        return "criu failed with \(how): \(first)"
    }
}
