import Foundation

/// The end of a run's output: groups, timeline, a line per case, and the counts.
enum Summary {
    static func text(of report: LabReport) -> String {
        var lines: [String] = []
        for recovery in report.recoveries {
            lines += table(
                ["GROUP", "VERDICT", "OUTCOME", "MEMORY", "BACK AFTER", "REASON"],
                recovery.groups.map { group in
                    [
                        group.name, group.verdict ?? "-", group.outcome ?? "-", group.bytes.map(mebibytes) ?? "-",
                        group.secondsToProgress.map(seconds) ?? "-",
                        group.outcome == "failed" ? group.reason ?? "" : group.reasons.first ?? "",
                    ]
                })
            lines += ["", "crashed by \(recovery.trigger), salvaged by \(recovery.salvagedBy)"]
            lines += table(
                ["PHASE", "START", "SECONDS", "BYTES", "PAGES"],
                recovery.phases.map { phase in
                    [
                        phase.phase, seconds(phase.start), seconds(phase.seconds), phase.bytes.map(mebibytes) ?? "",
                        phase.pages.map(String.init) ?? "",
                    ]
                })
            if let downtime = recovery.downtimeSeconds { lines.append("downtime: \(seconds(downtime))") }
            lines.append("")
        }
        for item in report.cases { lines.append("\(item.result.rawValue)  \(item.name): \(item.message)") }
        if let failure = report.failure { lines.append("the run could not be finished: \(failure)") }
        if report.failed > 0 || report.failure != nil { lines.append("serial logs of all domains: \(report.logs)") }
        lines.append("\(report.passed) passed, \(report.failed) failed, \(report.skipped) skipped")
        return lines.joined(separator: "\n")
    }

    private static func seconds(_ value: Double) -> String { String(format: "%.1f s", value) }

    static func mebibytes(_ bytes: Int) -> String { String(format: "%.1f MiB", Double(bytes) / 1_048_576) }

    /// Columns two spaces apart, under an upper-case header.
    static func table(_ header: [String], _ rows: [[String]]) -> [String] {
        let all = [header] + rows
        let widths = header.indices.map { column in all.map { $0[column].count }.max() ?? 0 }
        return all.map { row in
            let cells = zip(row, widths).map { $0.padding(toLength: $1, withPad: " ", startingAt: 0) }
            return cells.joined(separator: "  ").trimmingCharacters(in: .whitespaces)
        }
    }
}
