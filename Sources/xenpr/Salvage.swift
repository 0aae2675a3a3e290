import ArgumentParser

/// Salvages processes from a dead domain or a memory dump without a minor.
struct SalvageCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "salvage", abstract: "Turn the processes in a memory dump or a dead domain into checkpoints.")

    func run() async throws {
        throw CommandFailure("cannot salvage: not built yet")
    }
}
