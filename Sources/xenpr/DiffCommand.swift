import ArgumentParser
import ImageDiff

/// Compares two checkpoints of one group.
struct DiffCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "diff", abstract: "Compare the CRIU images of one group with those of another maker.",
        discussion: """
            Objects are matched by what they are (process, address, descriptor), never by their order or number in the images.
            Exit codes: 0 when all differences are allowed, 1 otherwise.
            """)

    @Argument(help: "A directory of images: XenPR's.") var a: String?
    @Argument(help: "Another one: CRIU's.") var b: String?
    @Flag(help: "Show only what is not allowed.") var unexpected = false
    @Flag(help: "Print the table of allowed differences and their reasons as a document.") var reasons = false
    @OptionGroup var output: OutputOptions

    func validate() throws {
        if !reasons, a == nil || b == nil { throw ValidationError("two directories are needed: xenpr diff A B") }
    }

    func run() async throws {
        if reasons { print(AllowedDifferencesDocument.text, terminator: "") }
        guard let a, let b else { return }
        let all: [ImageDifference]
        do { all = try ImageComparison.compare(a, b) } catch { throw CommandFailure("cannot compare \(a) with \(b): \(error)") }
        let report = DiffReport(unexpected ? all.filter { $0.reason == nil } : all)
        switch output.format {
        case .json: try printJSON(report)
        case .table: report.table.printOut()
        }
        let count = all.count { $0.reason == nil }
        note("\(all.count - count) differences are allowed, \(count) are not")
        if count > 0 { throw ExitCode(1) }
    }
}

private struct DiffReport: InspectReport {
    struct Entry: Encodable {
        let object: String
        let field: String
        let a: String?
        let b: String?
        let reason: String?
    }

    let schema = "xenpr.diff/1"
    let differences: [Entry]

    init(_ differences: [ImageDifference]) {
        self.differences = differences.map {
            Entry(object: $0.object.description, field: $0.field, a: $0.a, b: $0.b, reason: $0.reason)
        }
    }

    var table: Table {
        var table = Table("OBJECT", "FIELD", "A", "B", "REASON")
        for entry in differences {
            table.add(entry.object, entry.field, entry.a ?? "-", entry.b ?? "-", entry.reason ?? "NOT ALLOWED")
        }
        return table
    }
}
