import ArgumentParser
import Foundation
import Mutation

/// Makes one mutation again and tells all about it.
struct ReplayCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "replay", abstract: "Makes one mutation again, in this process, and tells all about it.")

    @OptionGroup var source: FuzzSource
    @Option(help: "The number of the mutation; without it the salvage of the unchanged memory is told.")
    var only: Int?

    func run() async throws {
        let run = try source.open()
        guard let only else {
            print(run.unchanged.joined(separator: "\n"))
            return
        }
        let (mutation, piece, _) = run.mutation(only)
        print("kind     \(mutation.kind.rawValue)")
        print("address  \(mutation.address), virtual \(piece.virtual)")
        // A page is too long to be shown.
        print("old      \(Self.hex(mutation.old))")
        print("new      \(Self.hex(mutation.new))")
        let report = run.run(only)
        print("place    \(report.place.object).\(report.place.field)")
        print("outcome  \(report.outcome.rawValue) \(report.words)")
    }

    private static func hex(_ bytes: [UInt8]) -> String {
        guard bytes.count <= 8 else { return "\(bytes.count) bytes" }
        return "0x" + String(bytes.reversed().reduce(UInt64(0)) { $0 << 8 | UInt64($1) }, radix: 16)
    }
}
