import ArgumentParser
import Foundation

/// The README's table of what comes back: a row for each case, so that it says what `make test` shows and nothing else.
enum RecoveredTable {
    /// Lines of the README around the table.
    static let begin = "<!-- made by make table from Tests/Cases -->"
    static let end = "<!-- end of the table -->"

    /// The table, its rows in the order of their areas; cases that show nothing have none.
    static func text(of cases: [CaseDefinition]) -> String {
        let rows = cases.compactMap { definition -> (area: String, cells: [String])? in
            guard let shows = definition.shows, let verdict = definition.expect else { return nil }
            let area = definition.area ?? "other"
            return (area, [area, shows, verdict, "`\(definition.name)`"])
        }.sorted { ($0.area, $0.cells[3]) < ($1.area, $1.cells[3]) }
        let lines = [["area", "what", "verdict", "case"], ["---", "---", "---", "---"]] + rows.map(\.cells)
        return lines.map { "| " + $0.joined(separator: " | ") + " |" }.joined(separator: "\n")
    }

    /// The document with its table made anew.
    static func renew(_ document: String, with table: String) throws -> String {
        guard let start = document.range(of: begin), let stop = document.range(of: end), start.upperBound <= stop.lowerBound
        else {
            throw LabFailure("the document has no lines \(begin) and \(end)")
        }
        return document[..<start.upperBound] + "\n" + table + "\n" + document[stop.lowerBound...]
    }
}

struct Table: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Makes the table of what comes back anew in a document, from cases.")

    @Argument(help: "The document.")
    var document: String
    @Argument(help: "Case directories, or directories of case directories.")
    var cases: [String]

    func run() throws {
        let text = try String(contentsOfFile: document, encoding: .utf8)
        let table = RecoveredTable.text(of: try CaseDefinition.load(cases))
        try RecoveredTable.renew(text, with: table).write(toFile: document, atomically: true, encoding: .utf8)
    }
}
