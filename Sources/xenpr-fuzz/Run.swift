import ArgumentParser
import Foundation
import Mutation
import Subprocess
import SystemPackage

/// Runs mutations in worker processes and reports.
struct RunCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "run", abstract: "Makes many mutations and reports what became of them.",
        discussion: """
            Exit codes: 0 the salvager survived all of them and nothing that can be detected went unnoticed, 1 it did not.
            """)

    @OptionGroup var source: FuzzSource
    @Option(help: "How many mutations.")
    var mutations: Int = 1000
    @Option(help: "The number of the first one.")
    var first: Int = 0
    @Option(help: "Workers at the same time; as many as processors when not given.")
    var jobs: Int?
    @Option(help: "A file that gets the report as Markdown.")
    var report: String?
    @Option(help: "A file that gets a line for each mutation.")
    var log: String?

    func run() async throws {
        let jobs = max(1, min(jobs ?? ProcessInfo.processInfo.activeProcessorCount, mutations))
        let collector = Collector(log: log)
        let end = first + mutations
        try await withThrowingTaskGroup(of: Void.self) { group in
            for job in 0..<jobs {
                let from = first + mutations * job / jobs
                let to = job == jobs - 1 ? end : first + mutations * (job + 1) / jobs
                group.addTask { try await self.work(from..<to, collector) }
            }
            try await group.waitForAll()
        }
        let tally = await collector.finish()
        let text = FuzzReport(tally, mutations: mutations, seed: source.seed, first: first).markdown
        if let report { try text.write(toFile: report, atomically: true, encoding: .utf8) }
        print(text)
        if !tally.failures.isEmpty || !tally.missed.isEmpty || tally.total != mutations { throw ExitCode(1) }
    }

    /// Starts workers until the whole range is done: one that is ended by a mutation is followed by one that goes on behind it.
    private func work(_ range: Range<Int>, _ collector: Collector) async throws {
        var next = range.lowerBound
        while next < range.upperBound {
            let start = next
            let result = try await Subprocess.run(
                .path("/proc/self/exe"),
                arguments: [
                    "work", source.dump, "--seed", "\(source.seed)", "--from", "\(start)", "--to", "\(range.upperBound)",
                ],
                environment: .inherit.updating(["SWIFT_BACKTRACE": "enable=no"]), input: .none, output: .sequence,
                error: .fileDescriptor(.standardError, closeAfterSpawningProcess: false)
            ) { execution in
                var position = (started: nil as Int?, next: start)
                for try await line in execution.standardOutput.strings() {
                    if line.hasPrefix("start ") {
                        position.started = Int(line.dropFirst(6))
                    } else if let result = Line(line) {
                        position = (nil, result.index + 1)
                        await collector.add(result)
                    }
                }
                return position
            }
            next = result.closureResult.next
            guard let culprit = result.closureResult.started else {
                guard next > start || next == range.upperBound else {
                    throw ValidationError("a worker ended before its first mutation: \(result.terminationStatus)")
                }
                continue
            }
            await collector.addEnd(of: culprit, result.terminationStatus)
            next = culprit + 1
        }
    }
}
