import CLinux
import Glibc

/// The root of a group's process tree.
///
/// CRIU restores one tree per group, so a group needs one root that outlives whatever the command leaves behind. The keeper is
/// a session leader and a subreaper in the group's cgroup: orphans of the group come to it, it reaps them, and it goes with the
/// last of them. It is saved and restored with its group, so it holds nothing that would be hard to bring back: one thread,
/// /dev/null as descriptors 0 to 2, and it waits in wait4(2). It is a fork of `xenpr-agent run` without an exec.
struct Keeper {
    let group: ControlGroup
    /// A FIFO that `run` reads: the command's wait status is written to it as a decimal number. The keeper opens it only then,
    /// so that it holds no descriptor that leads out of its group; nobody waits there after a recovery, which is no error.
    let statusFIFO: String

    /// Becomes the keeper of a group, starts `command` and does not return. To be called in a newly forked process.
    ///
    /// `startPipe` takes the command's PID (0 when it has none) and the errno of a failure to start, four bytes each.
    func run(_ command: Command, startPipe: Int32) -> Never {
        do throws(AgentError) {
            try group.enter()
            guard setsid() >= 0, xpr_become_subreaper() == 0 else { throw systemError("cannot become a session leader") }
        } catch {
            failStart(command, startPipe)
            _exit(ExitCode.failed)
        }
        System.setName("xenpr-keeper")

        let child = xpr_fork()
        if child == 0 { command.execute(startPipe: startPipe) }
        if child < 0 {
            failStart(command, startPipe)
            group.removeIfEmpty()
            _exit(ExitCode.failed)
        }
        // It ends with the group, not with the terminal or at the first SIGTERM of a shutdown.
        xpr_ignore_terminal_signals()
        letGoOfDescriptors()
        _ = System.chdir("/")
        reap(until: child)
    }

    private func failStart(_ command: Command, _ startPipe: Int32) {
        let number = errno
        command.report(0, to: startPipe)
        command.report(number, to: startPipe)
    }

    /// Leaves /dev/null as 0, 1 and 2 and nothing else.
    private func letGoOfDescriptors() {
        xpr_close_from(3)
        let null = System.open("/dev/null", O_RDWR)
        for descriptor: Int32 in 0...2 where null >= 0 { dup2(null, descriptor) }
        if null > 2 { close(null) }
    }

    /// Reaps until there is no child left, telling `run` about the command when it is its turn.
    private func reap(until command: pid_t) -> Never {
        while true {
            var status: Int32 = 0
            // wait4 writes one Int32 to the address of a variable that lives across the call.
            let ended = unsafe waitpid(-1, &status, 0)
            if ended < 0 {
                if errno == EINTR { continue }
                break
            }
            if ended == command { tellStatus(status) }
        }
        // A process cannot remove the cgroup it is in, so it steps out of it first, into the root of the hierarchy.
        if let root = try? ControlGroup.mountPoint(), (try? writeControlFile(root + "/cgroup.procs", "0")) != nil {
            group.removeIfEmpty()
        }
        _exit(0)
    }

    private func tellStatus(_ status: Int32) {
        guard let fifo = Descriptor(taking: System.open(statusFIFO, O_WRONLY | O_NONBLOCK)) else { return }
        try? fifo.write(Array("\(status)\n".utf8), to: statusFIFO)
    }
}
