import ArgumentParser
import Glibc

/// The command that people type: follow and steer protected guests through the daemon, or work offline on a memory dump.
struct XenPR: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "xenpr",
        abstract: "Processes survive the panic of their kernel.",
        discussion: """
            Exit codes: 0 done, 1 failed, 2 partly done, 3 kernel not supported, 64 usage.
            """,
        version: "0.1.0",
        groupedSubcommands: [
            CommandGroup(
                name: "Protected guests (through xenprd):",
                subcommands: [
                    ProtectCommand.self, UnprotectCommand.self, StatusCommand.self, HistoryCommand.self, ShowCommand.self,
                    DoctorCommand.self,
                ]),
            CommandGroup(
                name: "Kernels, dead or alive, and memory dumps:",
                subcommands: [PlanCommand.self, InspectCommand.self, SalvageCommand.self, DiffCommand.self]),
        ])

    /// Parses the arguments and runs the command they name; each failure ends as one line on stderr and an exit code.
    static func run() async {
        do {
            let parsed = try parseAsRoot()
            if var command = parsed as? any AsyncParsableCommand {
                try await command.run()
            } else {
                var command = parsed
                try command.run()
            }
        } catch let failure as CommandFailure {
            complain(failure.message)
            exit(withError: failure.code)
        } catch  where exitCode(for: error) == .failure && !(error is ExitCode) {
            // ArgumentParser would print "Error: " and the type's own description; ours are lower-case sentences.
            complain("\(error)")
            exit(withError: ExitCode.failure)
        } catch {
            exit(withError: error)
        }
    }
}
