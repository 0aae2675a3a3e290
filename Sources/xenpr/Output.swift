import ArgumentParser
import DaemonAPI
import Foundation

/// How a command prints its data.
enum OutputFormat: String, ExpressibleByArgument, CaseIterable {
    case table
    case json
}

/// The option that each command with data to show has.
struct OutputOptions: ParsableArguments {
    @Option(help: ArgumentHelp("How to print the data.", valueName: "table|json"))
    var format: OutputFormat = .table
}

/// A table for people: upper-case header, two spaces between columns, no trailing spaces.
struct Table {
    private var rows: [[String]]

    init(_ header: String...) {
        rows = [header]
    }

    mutating func add(_ cells: String...) {
        rows.append(cells)
    }

    mutating func add(_ cells: [String]) {
        rows.append(cells)
    }

    /// The lines, each column as wide as its widest cell; the last column is never padded.
    var lines: [String] {
        let columns = rows.map(\.count).max() ?? 0
        let widths = (0..<columns).map { column in rows.map { column < $0.count ? $0[column].count : 0 }.max() ?? 0 }
        return rows.map { row in
            var line = ""
            for (column, cell) in row.enumerated() {
                line += cell
                if column + 1 < row.count {
                    line += String(repeating: " ", count: widths[column] - cell.count + 2)
                }
            }
            while line.last == " " { line.removeLast() }
            return line
        }
    }

    func printOut() {
        for line in lines { print(line) }
    }
}

/// Prints a value as JSON on stdout, keys sorted so that outputs can be compared.
func printJSON(_ value: some Encodable) throws {
    print(String(decoding: try WireCoding.encode(value, pretty: true), as: UTF8.self))
}

/// Hands everything printed so far to whoever reads it.
func flushOutput() {
    // A nil stream means all of them.
    fflush(nil)
}

/// A number of bytes for people: `412.0 MiB`.
func sizeText(_ bytes: UInt64) -> String {
    let units = ["B", "KiB", "MiB", "GiB", "TiB"]
    var value = Double(bytes)
    var unit = 0
    while value >= 1024, unit + 1 < units.count {
        value /= 1024
        unit += 1
    }
    return unit == 0 ? "\(bytes) B" : "\(fixed(value, 1)) \(units[unit])"
}

/// A number with a fixed count of decimals.
func fixed(_ value: Double, _ decimals: Int) -> String {
    String(format: "%.\(decimals)f", value)
}
