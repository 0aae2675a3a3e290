import Mutation

/// The report of a run, as it stands in docs/hostile-memory.md.
struct FuzzReport {
    let tally: Tally
    let mutations: Int
    let seed: UInt64
    let first: Int

    init(_ tally: Tally, mutations: Int, seed: UInt64, first: Int) {
        self.tally = tally
        self.mutations = mutations
        self.seed = seed
        self.first = first
    }

    private static let silentLines = 60

    var markdown: String {
        var lines = ["\(tally.total) mutations, seed \(seed), numbers \(first)…\(first + mutations - 1).", ""]
        lines += table("outcome", ["mutations"], Outcome.allCases.map { ($0.rawValue, ["\(tally.outcomes[$0] ?? 0)"]) })
        lines.append("")
        lines += table("kind", Outcome.allCases.map(\.rawValue), rows(tally.kinds))
        lines.append("")
        lines += table("object", Outcome.allCases.map(\.rawValue), rows(tally.objects))
        if !tally.silent.isEmpty {
            lines.append("")
            let sorted = tally.silent.sorted { ($1.value, $0.key) < ($0.value, $1.key) }
            lines += table("silent field", ["mutations"], sorted.prefix(Self.silentLines).map { ($0.key, ["\($0.value)"]) })
            let rest = sorted.dropFirst(Self.silentLines)
            if !rest.isEmpty {
                lines.append("| \(rest.count) other fields | \(rest.reduce(0) { $0 + $1.value }) |")
            }
        }
        for failure in tally.failures {
            lines.append("failure: mutation \(failure.index): \(failure.outcome.rawValue), \(failure.words)")
        }
        for miss in tally.missed { lines.append("unnoticed although it is checked: mutation \(miss.index): \(miss.words)") }
        return lines.joined(separator: "\n") + "\n"
    }

    private func rows(_ counts: [String: [Outcome: Int]]) -> [(String, [String])] {
        counts.sorted { $0.key < $1.key }.map { name, counts in
            (name, Outcome.allCases.map { "\(counts[$0] ?? 0)" })
        }
    }

    private func table(_ head: String, _ columns: [String], _ rows: [(String, [String])]) -> [String] {
        ["| \(head) | \(columns.joined(separator: " | ")) |", "| --- |" + String(repeating: " ---: |", count: columns.count)]
            + rows.map { "| \($0.0) | \($0.1.joined(separator: " | ")) |" }
    }
}
