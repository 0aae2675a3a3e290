import CLinux
import Glibc

/// A process of another's that has to be gone before the next step: what it had open is closed then.
struct EndOfProcess {
    private let process: pid_t

    init(_ process: pid_t) { self.process = process }

    /// - Throws: when it is still there after so many seconds.
    func killAndWait(seconds: Int32) async throws {
        let end = xpr_pidfd_open(process)
        guard end >= 0 else {
            if errno == ESRCH { return }
            throw ToolFailure("cannot wait for process \(process): \(errorText(errno))")
        }
        defer { close(end) }
        kill(process, SIGKILL)
        let isOver = await Task.detached {
            var waiting = pollfd(fd: end, events: Int16(POLLIN), revents: 0)
            // One structure of ours, for the length of the call.
            return unsafe poll(&waiting, 1, seconds * 1000) == 1
        }.value
        guard isOver else { throw ToolFailure("process \(process), which an earlier xenprd has left, does not end") }
    }
}
