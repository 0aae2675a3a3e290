import ArgumentParser

/// Shows what a dead kernel's memory holds.
struct InspectCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "inspect", abstract: "Show what a memory dump or a dead domain holds.")

    func run() async throws {
        throw CommandFailure("cannot inspect: not built yet")
    }
}
