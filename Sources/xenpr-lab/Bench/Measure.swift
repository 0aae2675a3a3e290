import ArgumentParser
import Foundation
import Glibc

/// What a program took.
struct Measurement: Codable, Sendable {
    var seconds: Double
    /// The most memory that it had resident, in bytes.
    var peakBytes: Int
    var status: Int32

    /// Runs a program through `xenpr-lab measure`, which has no other child whose memory could be taken for the program's.
    static func run(_ program: String, _ arguments: [String]) async throws -> Measurement {
        let lab = try FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe")
        let output = try await Tool.require(lab, ["measure", "--", program] + arguments, timeout: .seconds(600))
        guard let line = output.split(whereSeparator: \.isNewline).last,
            let result = try? JSONDecoder().decode(Measurement.self, from: Data(line.utf8))
        else { throw LabFailure("cannot measure \(program): xenpr-lab measure printed \(output.suffix(200))") }
        guard result.status == 0 || result.status == 2 else {
            throw LabFailure("cannot measure \(program): it exited with \(result.status)")
        }
        return result
    }
}

/// Runs one program and prints what it took as JSON.
struct Measure: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Runs a program and prints the seconds and the memory that it took.", shouldDisplay: false)

    @Argument(parsing: .postTerminator)
    var command: [String]

    func run() async throws {
        guard let program = command.first else { throw ValidationError("no program is given after --") }
        let start = ContinuousClock.now
        let result = try await Tool.run(program, Array(command.dropFirst()), timeout: .seconds(600))
        let seconds = (ContinuousClock.now - start).seconds
        var usage = rusage()
        // getrusage fills the structure that it is given; the only child of this process is the measured program.
        _ = unsafe getrusage(__rusage_who_t(RUSAGE_CHILDREN.rawValue), &usage)
        let measured = Measurement(seconds: seconds, peakBytes: usage.ru_maxrss * 1024, status: result.status)
        print(String(decoding: try JSONEncoder().encode(measured), as: UTF8.self))
    }
}
