import ArgumentParser
import Glibc

/// Why a command did not do what it was asked: one sentence (operation, object, cause, next step) and the exit code.
struct CommandFailure: Error {
    let message: String
    let code: ExitCode

    init(_ message: String, code: ExitCode = .failure) {
        self.message = message
        self.code = code
    }
}

extension ExitCode {
    /// Done for some of what was asked; the output says which.
    static let partly = ExitCode(2)
    /// The kernel in the source cannot be understood.
    static let kernelNotSupported = ExitCode(3)
}

/// Writes one line to stderr; stdout is for data only.
func note(_ line: String) {
    // A closed stderr must not end the command, so the result of the write is not looked at.
    var bytes = Array(line.utf8)
    bytes.append(UInt8(ascii: "\n"))
    // The buffer lives for the duration of the call and its own count is given.
    _ = unsafe bytes.withUnsafeBytes { unsafe write(STDERR_FILENO, $0.baseAddress, $0.count) }
}

/// Writes `error: …` to stderr.
func complain(_ message: String) {
    note("error: \(message)")
}
