import Foundation
import Subprocess

/// Why something that xenprd asked of the system did not work.
struct ToolFailure: Error, CustomStringConvertible {
    let description: String

    init(_ description: String) {
        self.description = description
    }
}

/// Runs the system's own programs (xl, mount, blkid), with a limit on their time and output.
enum Tool {
    struct Result: Sendable {
        /// Exit code; nil when a signal ended it.
        var code: Int32?
        var output: String
        var complaint: String

        /// What a program says of its failure: the first line of stderr that calls itself an error, for what follows is how it cleaned up; else
        /// the last line that is not empty.
        var reason: String {
            let lines = complaint.split(whereSeparator: \.isNewline).map { $0.trimmingCharacters(in: .whitespaces) }
            let line = lines.first { $0.contains("error:") } ?? lines.last { !$0.isEmpty } ?? "no reason given"
            return code.map { "\(line) (exit code \($0))" } ?? "\(line) (ended by a signal)"
        }
    }

    /// How long a killed program may take to be gone: one that waits for a disk that does not answer cannot be ended.
    private static let grace = 10.0

    /// Runs a program to its end.
    /// - Returns: nil when the time was over first; the program is then killed.
    static func run(_ name: String, _ arguments: [String], seconds: Double) async throws -> Result? {
        let program = Task { try await run(name, arguments) }
        return try await withTaskCancellationHandler {
            guard await isOver(program, within: seconds) else {
                // Cancelling it ends the program.
                program.cancel()
                _ = await isOver(program, within: grace)
                return nil
            }
            return try await program.value
        } onCancel: {
            program.cancel()
        }
    }

    private static func run(_ name: String, _ arguments: [String]) async throws -> Result {
        let executable: Executable = name.contains("/") ? .path(.init(name)) : .name(name)
        let result = try await Subprocess.run(
            executable, arguments: Arguments(arguments), output: .string(limit: 4 << 20), error: .string(limit: 1 << 20))
        var code: Int32?
        if case .exited(let status) = result.terminationStatus { code = status }
        return Result(code: code, output: result.standardOutput, complaint: result.standardError)
    }

    /// Waits for a program's end, and no longer than so many seconds.
    private static func isOver(_ program: Task<Result, any Error>, within seconds: Double) async -> Bool {
        let (events, source) = AsyncStream.makeStream(of: Bool.self)
        let end = Task {
            _ = await program.result
            source.yield(true)
        }
        let clock = Task {
            try? await Task.sleep(for: .seconds(seconds))
            source.yield(false)
        }
        defer {
            clock.cancel()
            end.cancel()
        }
        return await events.first { _ in true } ?? false
    }

    /// Runs a program that must succeed; gives its output.
    @discardableResult
    static func need(_ name: String, _ arguments: [String], seconds: Double = 60) async throws -> String {
        let command = ([name] + arguments.prefix(2)).joined(separator: " ")
        let result: Result?
        do {
            result = try await run(name, arguments, seconds: seconds)
        } catch let error as SubprocessError {
            throw ToolFailure("cannot run \(name): \(error)")
        }
        guard let result else { throw ToolFailure("\(command) did not end within \(Int(seconds)) s") }
        guard result.code == 0 else { throw ToolFailure("\(command) failed: \(result.reason)") }
        return result.output
    }
}
