import Foundation

/// What the living kernel says of the protected processes just before the crash, which the dump tests compare the dead one with: their files of /proc,
/// and, of groups that hold still, the images of CRIU's own dump.
///
/// Groups that hold still are stopped for it (SIGSTOP), so that nothing changes between the record and the crash, and go on after the recovery.
struct TruthRecord: Sendable {
    /// Where the record is put on the host.
    let directory: String

    private static let place = "/var/lib/xenpr-lab/truth"

    /// Takes the record. Nothing of it stays in main: what CRIU wrote must never come near a recovery.
    func take(in main: SSHShell, stillGroups: [String]) async throws {
        try? FileManager.default.removeItem(atPath: directory)
        try await main.require("rm -rf \(Self.place) && mkdir -p \(Self.place)")
        let arguments = ([Self.place] + stillGroups).map(quoted).joined(separator: " ")
        let log = try await main.require(
            "exec python3 - \(arguments) 2>&1", input: TruthScript.text, timeout: .seconds(600))
        try await main.copyOut(Self.place, to: directory, timeout: .seconds(300))
        try log.write(toFile: "\(directory)/record.log", atomically: false, encoding: .utf8)
        try await main.require("rm -rf \(Self.place) && sync", timeout: .seconds(120))
    }

    /// Has those go on that were stopped for the record.
    func release(in main: SSHShell) async throws {
        let summary = try JSONDecoder().decode(
            Summary.self, from: Data(contentsOf: URL(fileURLWithPath: "\(directory)/truth.json")))
        let pids = summary.stopped.map(String.init).joined(separator: " ")
        // One of a group that was not restored is not there.
        try await main.require("for pid in \(pids); do kill -CONT $pid 2> /dev/null; done; true")
    }

    private struct Summary: Decodable {
        var stopped: [Int]
    }
}
