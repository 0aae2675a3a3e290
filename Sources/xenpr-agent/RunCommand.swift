import CLinux
import Glibc

/// `xenpr-agent run --group NAME [--cwd DIR] [--log FILE] [--attach] -- COMMAND…`: runs a command in a group of its own.
struct RunCommand {
    let group: GroupName
    let command: Command
    /// Wait for the group instead of failing when it is already there, as after a recovery.
    var attach = false

    /// Where the FIFOs are that keepers report through.
    private static let runtimeDirectory = "/run/xenpr"

    /// Starts the command and waits for it. Returns what it exits with, 128 + N when it was ended by signal N.
    func run() throws(AgentError) -> Int32 {
        let cgroup = try ControlGroup(group)
        if cgroup.isPopulated {
            guard attach else {
                throw AgentError(
                    description: "cannot start group \(group): it already has processes in \(cgroup.directory); "
                        + "take another name, end them, or wait for them with --attach")
            }
            return try waitUntilEmpty(cgroup)
        }
        try cgroup.create()
        try PIDFloor.raise()
        warnAboutStandardStreams()

        try makeDirectories(Self.runtimeDirectory, mode: 0o700)
        let fifo = "\(Self.runtimeDirectory)/\(group).\(getpid())"
        System.unlink(fifo)
        guard System.mkfifo(fifo, 0o600) == 0 else { throw systemError("cannot create \(fifo)") }
        defer { System.unlink(fifo) }
        guard let status = Descriptor(taking: System.open(fifo, O_RDONLY | O_NONBLOCK)) else {
            throw systemError("cannot open \(fifo)")
        }
        let (keeper, process) = try start(Keeper(group: cgroup, statusFIFO: fifo))
        return try waitForStatus(status, keeper: keeper, command: process)
    }

    /// Forks the keeper and waits until the command runs. Returns the PIDs of both.
    private func start(_ keeper: Keeper) throws(AgentError) -> (keeper: pid_t, command: pid_t) {
        guard let ends = System.pipe() else { throw systemError("cannot create a pipe") }
        let child = xpr_fork()
        if child == 0 { keeper.run(command, startPipe: ends.write) }
        let failure = errno
        close(ends.write)
        guard let pipe = Descriptor(taking: ends.read), child > 0 else {
            throw AgentError(description: "cannot fork the keeper of group \(group): \(errorText(failure))")
        }
        let message = try pipe.readAll(limit: 64, of: "the start of the command")
        let numbers = stride(from: 0, to: message.count - 3, by: 4).map { offset in
            (0..<4).reduce(Int32(0)) { $0 | Int32(message[offset + $1]) << (8 * Int32($1)) }
        }
        guard let process = numbers.first, process > 0 else {
            throw AgentError(
                description: "cannot set up group \(group) in \(keeper.group.directory): \(errorText(numbers.last ?? EIO))")
        }
        if numbers.count > 1 {
            throw AgentError(
                description: "cannot execute \(command.arguments[0]): \(errorText(numbers[1]))",
                exitCode: numbers[1] == ENOENT ? ExitCode.notFound : ExitCode.notExecutable)
        }
        return (child, process)
    }

    /// Waits for the keeper's word about the command, handing signals that ask for an end on to the command.
    private func waitForStatus(_ status: borrowing Descriptor, keeper: pid_t, command: pid_t) throws(AgentError) -> Int32 {
        guard let signals = Descriptor(taking: xpr_termination_signalfd()),
            let death = Descriptor(taking: xpr_pidfd_open(keeper))
        else { throw systemError("cannot wait for group \(group)") }
        while true {
            guard let ready = System.poll([status.number, signals.number, death.number]) else { continue }
            if ready[1] { _ = kill(command, xpr_read_signalfd(signals.number)) }
            if ready[0] || ready[2] {
                // The keeper writes the whole line at once, and may not have closed its end yet.
                var bytes = [UInt8](repeating: 0, count: 64)
                let text = String(decoding: bytes[..<max(0, System.read(status.number, into: &bytes))], as: UTF8.self)
                if let line = text.split(separator: "\n").first, let number = Int32(line) { return exitStatus(number) }
                throw AgentError(
                    description: "cannot tell how the command of group \(group) ended: its keeper \(keeper) was killed")
            }
        }
    }

    /// What a shell makes of a wait status (`bits/waitstatus.h`).
    private func exitStatus(_ status: Int32) -> Int32 {
        let signal = status & 0x7f
        return signal == 0 ? (status >> 8) & 0xff : 128 + signal
    }

    /// Waits until the last process of a group that already runs has ended.
    private func waitUntilEmpty(_ cgroup: ControlGroup) throws(AgentError) -> Int32 {
        printError("group \(group) already runs; waiting for its end")
        guard let signals = Descriptor(taking: xpr_termination_signalfd()) else {
            throw systemError("cannot wait for group \(group)")
        }
        cgroup.waitUntilEmpty(signals: signals.number)
        return ExitCode.done
    }

    /// Says so when the command gets a standard stream that leads out of the group, since nothing can bring its other end back.
    private func warnAboutStandardStreams() {
        let names = ["input", "output", "error"]
        for descriptor: Int32 in 0...2 where command.log == nil {
            guard let status = System.status(descriptor) else { continue }
            let kind: String
            switch status.st_mode & S_IFMT {
            case S_IFIFO: kind = "pipe"
            case S_IFSOCK: kind = "socket"
            case S_IFCHR where isatty(descriptor) == 1: kind = "terminal"
            default: continue
            }
            printError(
                "warning: standard \(names[Int(descriptor)]) is a \(kind) that leads out of group \(group); what still holds it "
                    + "at a crash may not come back (give --log FILE, or redirect it)")
        }
    }
}
