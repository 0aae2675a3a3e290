import CLinux
import Glibc

/// A program that the agent runs to its end.
struct ChildProgram {
    let arguments: [String]
    /// The file that takes its output; /dev/null when nil.
    var output: String?
    /// The directory of the cgroup that it runs in; the agent's own cgroup when nil.
    var cgroup: String?
    /// Whether it, and all that it makes, runs without transparent huge pages.
    var disablesHugePages = false
    /// Descriptors that it gets, under the numbers that they have here.
    var lent: [Int32] = []
    /// What is set in its environment beside what the agent has.
    var environment: [(name: String, value: String)] = []
    /// Whether what it starts may have any resource limits: raising them asks for CAP_SYS_RESOURCE in the guest's user namespace, lowering them for nothing.
    var liftsLimits = false
    /// It gets a cgroup namespace of its own, whose root is the cgroup that it runs in.
    var hasCgroupNamespace = false

    /// The wait status of a program that could not be found.
    static let notFound: Int32 = 127 << 8

    /// Starts it; it is killed when it takes longer than the limit.
    func start(timeoutSeconds: Double) throws(AgentError) -> RunningProgram {
        let child = xpr_fork()
        if child == 0 { execute() }
        guard child > 0 else { throw systemError("cannot fork for \(arguments[0])") }
        return RunningProgram(
            name: arguments[0], process: child, end: xpr_pidfd_open(child), timeoutSeconds: timeoutSeconds,
            deadline: monotonicSeconds() + timeoutSeconds)
    }

    /// Runs it and returns its wait status (`wait(2)`).
    @discardableResult
    func run(timeoutSeconds: Double) throws(AgentError) -> Int32 {
        let running = try start(timeoutSeconds: timeoutSeconds)
        while !running.isOver { RunningProgram.waitForOne(of: [running], atMostSeconds: timeoutSeconds) }
        return try running.finish()
    }

    private func execute() -> Never {
        xpr_reset_signals()
        if let cgroup, (try? writeControlFile(cgroup + "/cgroup.procs", "0")) == nil { _exit(ExitCode.notExecutable) }
        if disablesHugePages, xpr_disable_huge_pages() != 0 { _exit(ExitCode.notExecutable) }
        if liftsLimits { xpr_lift_limits() }
        if hasCgroupNamespace, xpr_new_cgroup_namespace() != 0 { _exit(ExitCode.notExecutable) }
        let null = System.open("/dev/null", O_RDWR)
        let file = output.map { System.open($0, O_WRONLY | O_CREAT | O_TRUNC, 0o600) } ?? null
        guard null >= 0, file >= 0, System.chdir("/") == 0 else { _exit(ExitCode.notExecutable) }
        dup2(null, 0)
        dup2(file, 1)
        dup2(file, 2)
        xpr_close_from_on_exec(3)
        for number in lent where fcntl(number, F_SETFD, 0) != 0 { _exit(ExitCode.notExecutable) }
        for variable in environment { System.setEnvironment(variable.name, to: variable.value) }
        System.execute(arguments)
        _exit(errno == ENOENT ? ExitCode.notFound : ExitCode.notExecutable)
    }
}

/// A ``ChildProgram`` that has been started; ``finish()`` has to be called once.
struct RunningProgram {
    let name: String
    let process: pid_t
    /// A pidfd, readable when the process has ended; -1 where the kernel has none (before Linux 5.3).
    fileprivate let end: Int32
    fileprivate let timeoutSeconds: Double
    fileprivate let deadline: Double

    /// Whether it has ended, or must not run any longer. Without a pidfd it is waited for in ``finish()``.
    var isOver: Bool { end < 0 || monotonicSeconds() >= deadline || System.poll([end], milliseconds: 0) == [true] }

    /// Waits until one of the programs has ended or reached its limit, and no longer than so many seconds.
    static func waitForOne(of programs: [RunningProgram], atMostSeconds: Double) {
        guard let deadline = programs.map(\.deadline).min(), !programs.contains(where: { $0.end < 0 }) else { return }
        let milliseconds = Int32(min(atMostSeconds, max(0, deadline - monotonicSeconds())) * 1000) + 1
        _ = System.poll(programs.map(\.end), milliseconds: milliseconds)
    }

    /// Its wait status. Kills it, and fails, when it has not ended in time.
    func finish() throws(AgentError) -> Int32 {
        defer { if end >= 0 { close(end) } }
        if end >= 0, System.poll([end], milliseconds: 0) != [true] {
            kill(process, SIGKILL)
            _ = wait()
            throw AgentError(description: "\(name) did not end within \(Int(timeoutSeconds)) s")
        }
        return wait()
    }

    private func wait() -> Int32 {
        var status: Int32 = 0
        // waitpid writes one Int32 to the address of a variable that lives across the call.
        while unsafe waitpid(process, &status, 0) < 0, errno == EINTR {}
        return status
    }
}
