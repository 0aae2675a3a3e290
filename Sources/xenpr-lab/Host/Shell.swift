import Foundation

/// A place where the lab runs commands as root: main, the control domain, or the lab's own host.
protocol Shell: Sendable {
    /// What the place is called in messages.
    var place: String { get }

    /// Runs a script of /bin/sh and returns how it ended; throws when the place cannot be reached or the time is over.
    func run(_ script: String, input: String, timeout: Duration) async throws -> ToolResult

    /// Copies the contents of a directory of the host into a directory of the place, which is created.
    func copyIn(_ directory: String, to destination: String, timeout: Duration) async throws
}

extension Shell {
    func run(_ script: String, timeout: Duration = .seconds(60)) async throws -> ToolResult {
        try await run(script, input: "", timeout: timeout)
    }

    /// Runs a script that must succeed and returns what it printed.
    @discardableResult
    func require(_ script: String, input: String = "", timeout: Duration = .seconds(60)) async throws -> String {
        let result = try await run(script, input: input, timeout: timeout)
        guard result.succeeded else {
            throw LabFailure(
                "a command in \(place) exited with \(result.status): \(result.lastLine ?? "it printed nothing") (\(script.prefix(120)))"
            )
        }
        return result.output
    }

    /// The contents of a text file, or nil when it is not there.
    func readFile(_ path: String, timeout: Duration = .seconds(30)) async throws -> String? {
        let result = try await run("test -e \(quoted(path)) && cat \(quoted(path))", timeout: timeout)
        return result.succeeded ? result.output : nil
    }
}

/// A word of a shell command that stands for exactly this text.
func quoted(_ text: String) -> String {
    "'" + text.replacingOccurrences(of: "'", with: "'\\''") + "'"
}

/// The lab's own host; in QEMU mode it plays the control domain's part.
struct HostShell: Shell {
    let place = "the host"

    func run(_ script: String, input: String, timeout: Duration) async throws -> ToolResult {
        try await Tool.run("/bin/sh", ["-c", script], input: input, timeout: timeout)
    }

    func copyIn(_ directory: String, to destination: String, timeout: Duration) async throws {
        try FileManager.default.createDirectory(atPath: destination, withIntermediateDirectories: true)
        try await Tool.require("cp", ["-a", directory + "/.", destination], timeout: timeout)
    }
}
