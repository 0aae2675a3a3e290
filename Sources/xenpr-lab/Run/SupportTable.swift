import ArgumentParser
import Foundation

/// The document that says which cases come back on which kernels, made from the reports of runs and from nothing else.
struct Support: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Makes the table of kernels from the reports of runs (xenpr-lab run --report).")

    @Option(help: "The document that is made.")
    var to: String
    @Argument(help: "Reports, a column each.")
    var reports: [String]

    func run() throws {
        let runs = try reports.map { path in
            try SupportTable.Run(parsing: try Data(contentsOf: URL(fileURLWithPath: path)), name: path)
        }
        try SupportTable.text(of: runs).write(toFile: to, atomically: true, encoding: .utf8)
    }
}

enum SupportTable {
    /// The parts of a report (schema xenpr.lab-report/1) that the table needs.
    struct Run: Decodable {
        struct Case: Decodable {
            var name: String
            var result: String
            var verdict: String?
            var message: String
        }
        var on: String
        var guest: String
        var kernel: String?
        var criu: String?
        var failure: String?
        var cases: [Case]

        init(parsing data: Data, name: String) throws {
            do {
                self = try JSONDecoder().decode(Run.self, from: data)
            } catch {
                throw LabFailure("\(name) is no report of a run: \(error)")
            }
        }
    }

    /// A row a case, a column a run: the verdict of a case that passed its own check, else what became of it.
    static func text(of runs: [Run]) -> String {
        let names = Set(runs.flatMap { $0.cases.map(\.name) }).sorted()
        let header = ["case"] + runs.map { "\($0.guest), \($0.on)" }
        let versions = [
            ["kernel"] + runs.map { $0.kernel ?? "-" }, ["CRIU"] + runs.map { $0.criu ?? "-" },
        ]
        let rows = names.map { name in
            [name] + runs.map { run in run.cases.first { $0.name == name }.map(cell) ?? "not run" }
        }
        let failures = runs.flatMap { run in
            run.cases.filter { $0.result == "failed" }.map { "- \($0.name) on \(run.guest), \(run.on): \($0.message)" }
        }
        let table = ([header, header.map { _ in "---" }] + versions + rows).map { "| " + $0.joined(separator: " | ") + " |" }
        return """
            # Kernels

            Made by `make matrix` from its runs, not by hand. A cell is the verdict of a case that passed its own check after the panic.

            \(table.joined(separator: "\n"))

            \(failures.isEmpty ? "No case failed." : "What failed:\n\n" + failures.joined(separator: "\n"))

            """
    }

    private static func cell(_ item: Run.Case) -> String {
        item.result == "passed" ? item.verdict ?? "passed" : item.result
    }
}
