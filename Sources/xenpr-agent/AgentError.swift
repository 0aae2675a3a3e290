import Glibc

/// Why the agent could not do what it was asked: one sentence, lower case, with the operation, the object and the cause.
struct AgentError: Error, CustomStringConvertible {
    /// The sentence, without "error:" before it.
    var description: String
    /// What the process exits with; see ``ExitCode``.
    var exitCode: Int32 = ExitCode.failed
}

/// Exit codes of every XenPR program.
enum ExitCode {
    static let done: Int32 = 0
    static let failed: Int32 = 1
    /// Some groups came back and some did not.
    static let partly: Int32 = 2
    static let usage: Int32 = 64
    /// The command of `run` could not be started, as a shell reports it.
    static let notExecutable: Int32 = 126
    static let notFound: Int32 = 127
}

/// The text of an `errno` value, as strerror(3) gives it.
func errorText(_ number: Int32) -> String {
    // strerror returns a pointer to a static, null-terminated string; the agent has one thread, and the text is copied here.
    guard let text = unsafe strerror(number) else { return "error \(number)" }
    return unsafe String(cString: text)
}

/// An ``AgentError`` for the system call that has just failed: `what`, then the text of `errno`.
func systemError(_ what: String) -> AgentError {
    AgentError(description: "\(what): \(errorText(errno))")
}
