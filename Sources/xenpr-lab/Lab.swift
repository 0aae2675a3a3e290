import ArgumentParser

/// The embedded Xen for development, tests and the demo.
@main
struct Lab: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "xenpr-lab", abstract: "Boots guests, crashes them, has them recovered, and checks what came back.",
        subcommands: [
            Run.self, Build.self, Faults.self, Zdtm.self, ZdtmTable.self, Bench.self, Scale.self, Measure.self, Table.self,
            Support.self,
        ])
}

struct Build: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Makes the guests' images, so that a run finds them in the cache.")

    @Option(name: .customLong("package"), help: "A Debian package that main gets beside the usual ones.")
    var packages: [String] = []

    @Option(help: "Which Debian main runs.")
    var guest = GuestSystem.bookworm

    func run() async throws {
        let cache = try Cache()
        let image = try await MainImage.make(
            guest, packages: Set(packages), agent: try Programs.find().agent, in: cache, progress: Progress())
        print(image.disk)
    }
}
