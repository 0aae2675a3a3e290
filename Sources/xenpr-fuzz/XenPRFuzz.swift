import ArgumentParser

/// Attacks the walk over a dead kernel's memory with changes of that memory.
@main
struct XenPRFuzz: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "xenpr-fuzz", abstract: "Changes a dead kernel's memory and looks what the salvage makes of it.",
        subcommands: [RunCommand.self, ReplayCommand.self, WorkCommand.self])
}
