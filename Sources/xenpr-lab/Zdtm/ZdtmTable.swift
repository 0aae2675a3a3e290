import ArgumentParser
import Foundation

/// The document of how CRIU's own test programs fare after a panic, made from the reports of runs and from nothing else.
struct ZdtmTable: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "zdtm-table",
        abstract: "Makes the document of CRIU's test programs from the reports of runs (xenpr-lab zdtm --report).")

    @Option(help: "The document that is made.")
    var to: String
    @Argument(help: "Reports, a part of the document each.")
    var reports: [String]

    func run() throws {
        let read = try reports.map { path in
            do {
                return try JSONDecoder().decode(ZdtmReport.self, from: try Data(contentsOf: URL(fileURLWithPath: path)))
            } catch {
                throw LabFailure("\(path) is no report of CRIU's test programs: \(error)")
            }
        }
        try Self.text(of: read).write(toFile: to, atomically: true, encoding: .utf8)
    }

    static func text(of reports: [ZdtmReport]) -> String {
        """
        # CRIU's test programs after a panic

        Made by `make zdtm` and `xenpr-lab zdtm-table` from what ran, not by hand. Each program of CRIU's own test suite (test/zdtm/static) sets up one feature of the
        kernel, waits, and says PASS or FAIL itself. Here its kernel panics while it waits; it comes back in the next kernel, out of the dead one's memory.

        \(reports.map(part).joined(separator: "\n\n"))

        """
    }

    private static func part(_ report: ZdtmReport) -> String {
        let namespaces =
            report.flavor == ZdtmFlavor.ns.rawValue
            ? "in namespaces of their own, for those that run nowhere else" : "in the guest's own namespaces"
        let started = report.passed + report.failed
        return """
            ## Flavor \(report.flavor): \(namespaces)
            Linux \(report.kernel ?? "unknown"), CRIU \(report.criu ?? "unknown"), on \(report.on): **\(report.passed) of \(started)** programs that start pass. \(report.programs.count - started) do not start: this kernel or this
            guest lacks what they test.

            \(table("failed", of: report, "What does not pass", "why"))

            \(table("unstarted", of: report, "What does not start", "what it says"))
            """
    }

    private static func table(_ result: String, of report: ZdtmReport, _ name: String, _ why: String) -> String {
        let rows = report.programs.filter { $0.result == result }.map { "| \($0.name) | \(reason($0)) |" }
        return rows.isEmpty ? "\(name): none." : (["| \(name) | \(why) |", "| --- | --- |"] + rows).joined(separator: "\n")
    }

    /// One line: without the times and numbers of processes that CRIU's programs begin their lines with, and without places of the machine that ran them.
    private static func reason(_ program: ZdtmReport.Program) -> String {
        var text = program.message
        // What the salvage or the restore said comes in brackets; what it says of a process tells more than that the group is refused for it.
        let said = text.matches(of: #/(?:refused: |failed: criu )[^;]*/#).map { String($0.output) }
        if let best = said.first(where: { !$0.hasPrefix("refused: cannot be restored") }) ?? said.first {
            text = best
            // The bracket that closes what was said.
            if text.count(where: { $0 == ")" }) > text.count(where: { $0 == "(" }) { text.removeLast() }
        }
        text = text.replacing(#/[0-9:]+\.[0-9]+: +[0-9]+: /#, with: "").replacing(#/\S*\/cases\//#, with: "")
        text = text.replacing("|", with: "/").replacing(#/\s+/#, with: " ")
        return text.count > 220 ? text.prefix(220) + "…" : text
    }
}
