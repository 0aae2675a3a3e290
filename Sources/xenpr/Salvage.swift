import ArgumentParser
import Checkpoint
import Foundation
import ProcessModel
import Salvage

/// Saves the processes of a dead kernel to a recovery volume.
struct SalvageCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "salvage", abstract: "Save the protected processes of a dead kernel.",
        discussion: """
            Reads the dead kernel in SOURCE and writes, for each protected group, images that CRIU restores. The directory can be the mounted recovery volume of the guest, or \
            any directory without an earlier recovery.

            Exit codes: 0 all groups saved, 2 some refused, 1 nothing written, 3 kernel not supported.
            """)

    @OptionGroup var source: SourceArguments
    @Option(help: "The directory to write to.") var to: String
    @Option(help: "A name for this recovery; made from the time when not given.") var id: String?
    @Option(help: "The guest's name, for the manifest.") var guest: String = "guest"
    @Option(name: .customLong("group"), help: "A group that is saved; may be given several times. All when not given.")
    var groups: [String] = []
    @OptionGroup var output: OutputOptions

    func run() async throws {
        let kernel = try source.open()
        if !groups.isEmpty {
            let names = kernel.groupNames()
            if let missing = groups.first(where: { !names.contains($0) }) {
                throw CommandFailure(
                    "no group \(missing) in \(source.source); its groups: \(names.sorted().joined(separator: ", "))")
            }
        }
        guard !FileManager.default.fileExists(atPath: to + "/recovery.json") else {
            throw CommandFailure("cannot salvage to \(to): a recovery is there already; move it away first")
        }
        do {
            try FileManager.default.createDirectory(atPath: to, withIntermediateDirectories: true)
        } catch {
            throw CommandFailure("cannot make directory \(to): \(error.localizedDescription)")
        }
        let request = Salvage.Request(
            id: id ?? Self.newID(), guest: guest, salvager: source.isDomain ? .control : .offline, volume: to,
            groups: groups.isEmpty ? nil : Set(groups))
        let manifest: RecoveryManifest
        do {
            manifest = try Salvage.run(kernel, request) { progress in
                note("saved \(progress.groupsDone) of \(progress.groups) groups, \(sizeText(progress.bytes))")
            }
        } catch {
            throw CommandFailure("cannot salvage to \(to): \(error)")
        }
        switch output.format {
        case .json: print(manifest.json.text(.pretty))
        case .table: Self.table(of: manifest).printOut()
        }
        if manifest.groups.contains(where: { $0.images == nil }) { throw ExitCode.partly }
    }

    /// Seconds since the epoch are unique enough for one guest.
    private static func newID() -> String { "r\(Int(Date().timeIntervalSince1970))" }

    private static func table(of manifest: RecoveryManifest) -> Table {
        var table = Table("GROUP", "PROCESSES", "VERDICT", "SAVED", "REASON")
        for group in manifest.groups {
            table.add(
                group.name, "\(group.processes.count)", group.verdict.rawValue, sizeText(group.bytes), group.reasons.first ?? ""
            )
        }
        return table
    }
}
