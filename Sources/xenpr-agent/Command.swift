import CLinux
import Glibc

/// A program with its arguments, as it is executed in a group.
struct Command {
    /// The program (looked up in PATH when it has no slash), then its arguments. Never empty.
    let arguments: [String]
    /// Where it starts; the caller's working directory when nil.
    var workingDirectory: String?
    /// A file that gets standard output and standard error, appended to; what the caller has when nil.
    var log: String?

    /// Executes the program in place of the calling process, which `run` or the keeper has forked for it.
    ///
    /// `startPipe` must be close-on-exec. Its reader gets the PID, then an errno if the program cannot be executed; the end of
    /// the pipe right after the PID says that it runs.
    func execute(startPipe: Int32) -> Never {
        report(getpid(), to: startPipe)
        xpr_reset_signals()
        if let workingDirectory, System.chdir(workingDirectory) != 0 { fail(startPipe) }
        if let log, !redirect(to: log) { fail(startPipe) }

        // Descriptors above 2 that the caller happened to have would lead out of the group.
        xpr_close_from_on_exec(3)
        System.execute(arguments)
        fail(startPipe)
    }

    /// Hands a number (the command's PID, then the errno of a failure) to the process that reads the start pipe.
    func report(_ number: Int32, to startPipe: Int32) {
        var number = number
        // Four bytes of a local variable; a pipe takes them at once.
        _ = unsafe write(startPipe, &number, MemoryLayout<Int32>.size)
    }

    private func fail(_ startPipe: Int32) -> Never {
        let number = errno
        report(number, to: startPipe)
        _exit(number == ENOENT ? ExitCode.notFound : ExitCode.notExecutable)
    }

    private func redirect(to path: String) -> Bool {
        let null = System.open("/dev/null", O_RDONLY)
        let file = System.open(path, O_WRONLY | O_CREAT | O_APPEND, 0o644)
        guard null >= 0, file >= 0 else { return false }
        return dup2(null, 0) >= 0 && dup2(file, 1) >= 0 && dup2(file, 2) >= 0
    }
}
