import PlainJSON

/// `xenpr-agent report`: prints what the last restore did.
struct ReportCommand {
    let asJSON: Bool

    func run() throws(AgentError) -> Int32 {
        guard System.exists(RestoreReport.path) else {
            throw AgentError(description: "nothing has been restored on this system yet (no \(RestoreReport.path))")
        }
        let bytes = try readFile(RestoreReport.path)
        if asJSON {
            printOut(String(decoding: bytes, as: UTF8.self))
            return ExitCode.done
        }
        guard let json = try? JSONValue(parsing: bytes) else {
            throw AgentError(description: "cannot read \(RestoreReport.path): it is damaged")
        }
        var rows = [["GROUP", "OUTCOME", "SECONDS", "REASON"]]
        for group in json["groups"]?.arrayValue ?? [] {
            rows.append([
                group["name"]?.stringValue ?? "", group["outcome"]?.stringValue ?? "",
                String(group["seconds"]?.numberValue ?? 0), group["reason"]?.stringValue ?? "",
            ])
        }
        for file in json["files"]?.arrayValue ?? [] {
            rows.append([
                "(file)", "not caught up", "", "\(file["path"]?.stringValue ?? ""): \(file["reason"]?.stringValue ?? "")",
            ])
        }
        printTable(rows)
        return ExitCode.done
    }

    /// Columns two spaces apart; the last one is not padded.
    private func printTable(_ rows: [[String]]) {
        let widths = (0..<4).map { column in rows.map { $0[column].count }.max() ?? 0 }
        for row in rows {
            let cells = row.enumerated().map { index, cell in
                index == 3 ? cell : cell + String(repeating: " ", count: widths[index] - cell.count)
            }
            var line = cells.joined(separator: "  ")
            while line.hasSuffix(" ") { line.removeLast() }
            printOut(line)
        }
    }
}
