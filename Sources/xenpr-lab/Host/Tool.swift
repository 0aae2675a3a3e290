import Foundation
import Subprocess
import SystemPackage

/// What a program that has ended left behind.
struct ToolResult: Sendable {
    /// The exit status, or 128 + N when signal N ended the program.
    let status: Int32
    let output: String
    let errors: String

    var succeeded: Bool { status == 0 }

    /// The last line that the program printed that is not empty, on standard output or else on standard error.
    var lastLine: String? {
        Self.lastLine(of: output) ?? Self.lastLine(of: errors)
    }

    private static func lastLine(of text: String) -> String? {
        text.split(whereSeparator: \.isNewline).last { !$0.allSatisfy(\.isWhitespace) }.map {
            $0.trimmingCharacters(in: .whitespaces)
        }
    }
}

/// Programs of the lab's host: each in a session of its own, with a time limit after which all of that session is killed.
enum Tool {
    /// Both streams are kept up to this size; more is an error, because a program that writes so much is out of control.
    private static let outputLimit = 16 << 20

    /// Runs a program and returns how it ended. Throws when it cannot be started or exceeds its time.
    static func run(
        _ program: String, _ arguments: [String], environment: [String: String] = [:], directory: String? = nil,
        input: String = "", timeout: Duration
    ) async throws -> ToolResult {
        let commandLine = ([program] + arguments).joined(separator: " ")
        return try await withTimeLimit(timeout, doing: "run \(shortened(commandLine))") {
            try await start(program, arguments, environment: environment, directory: directory, input: input)
        }
    }

    /// Runs a program that must succeed, and returns what it printed.
    @discardableResult
    static func require(
        _ program: String, _ arguments: [String], environment: [String: String] = [:], directory: String? = nil,
        input: String = "", timeout: Duration = .seconds(60)
    ) async throws -> String {
        let result = try await run(
            program, arguments, environment: environment, directory: directory, input: input, timeout: timeout)
        guard result.succeeded else {
            let commandLine = shortened(([program] + arguments).joined(separator: " "))
            let reason = result.errors.split(whereSeparator: \.isNewline).suffix(5).joined(separator: "; ")
            throw LabFailure("\(commandLine) exited with \(result.status): \(reason.isEmpty ? "it printed nothing" : reason)")
        }
        return result.output
    }

    /// A session and a process group of its own, so that the time limit reaches what the program has started too.
    static var ownSession: PlatformOptions {
        var options = PlatformOptions()
        options.createSession = true
        options.teardownSequence = [.send(signal: .kill, toProcessGroup: true, allowedDurationToNextStep: .seconds(1))]
        return options
    }

    private static func start(
        _ program: String, _ arguments: [String], environment: [String: String], directory: String?, input: String
    ) async throws -> ToolResult {
        let variables = Dictionary(
            uniqueKeysWithValues: environment.compactMap { name, value in
                Environment.Key(rawValue: name).map { ($0, Optional(value)) }
            })
        let result = try await Subprocess.run(
            program.contains("/") ? .path(FilePath(program)) : .name(program), arguments: Arguments(arguments),
            environment: .inherit.updating(variables), workingDirectory: directory.map { FilePath($0) },
            platformOptions: ownSession, input: .string(input), output: .string(limit: outputLimit),
            error: .string(limit: outputLimit))
        return ToolResult(
            status: result.terminationStatus.shellStatus, output: result.standardOutput, errors: result.standardError)
    }

    private static func shortened(_ commandLine: String) -> String {
        let line = commandLine.split(whereSeparator: \.isNewline).first.map(String.init) ?? commandLine
        return line.count > 120 ? line.prefix(117) + "..." : line
    }
}

extension TerminationStatus {
    /// The status as a shell gives it: 128 + N for signal N.
    var shellStatus: Int32 {
        switch self {
        case .exited(let code): code
        case .signaled(let signal): 128 + signal
        }
    }
}
