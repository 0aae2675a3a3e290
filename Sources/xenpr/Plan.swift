import ArgumentParser
import Checkpoint
import KernelProcesses
import ProcessModel

/// Says what of a guest would come back if its kernel died now.
struct PlanCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "plan", abstract: "Say what would come back, and what not and why, before anything has happened.",
        discussion: """
            SOURCE can be a healthy domain (xen:NAME): it is only looked at and runs on, so what changes meanwhile is read once more. A dump works too.

            Exit codes: 0 everything would come back as it was, 2 something would not, 3 kernel not supported.
            """)

    @OptionGroup var source: SourceArguments
    @OptionGroup var output: OutputOptions

    /// A healthy guest changes while it is read: a list that was being changed is whole at the next look.
    private static let looks = 3

    func run() async throws {
        var groups: [RecoveryManifest.Group] = []
        for look in 1...Self.looks {
            let kernel = try source.open()
            groups = kernel.groups().map { GroupCheckpoint.assess($0.group) }
            if kernel.gaps.isEmpty { break }
            guard look == Self.looks || !source.isDomain else { continue }
            for gap in kernel.gaps { note("gap: \(gap.object), \(gap.field): \(gap.fault)") }
            break
        }
        switch output.format {
        case .json: try printJSON(PlanReport(groups))
        case .table: PlanReport(groups).table.printOut()
        }
        if groups.contains(where: { $0.verdict != .full }) { throw ExitCode.partly }
    }
}

/// `plan SOURCE`.
struct PlanReport: Encodable {
    struct Group: Encodable {
        let name: String
        let verdict: String
        let reasons: [String]
        let processes: [Process]
    }

    struct Process: Encodable {
        let pid: Int32
        let command: String
        let verdict: String
        let files: Int
        let sockets: Int
        let reasons: [String]
    }

    let schema = "xenpr.plan/1"
    let groups: [Group]

    init(_ groups: [RecoveryManifest.Group]) {
        self.groups = groups.map { group in
            Group(
                name: group.name, verdict: group.verdict.rawValue, reasons: group.reasons,
                processes: group.processes.map {
                    Process(
                        pid: $0.pid, command: $0.command, verdict: $0.verdict.rawValue, files: $0.files, sockets: $0.sockets,
                        reasons: $0.reasons)
                })
        }
    }

    /// A line for each process, and one for what concerns a group as a whole.
    var table: Table {
        var table = Table("GROUP", "TASK", "COMMAND", "VERDICT", "FILES", "SOCKETS", "REASON")
        for group in groups {
            for reason in group.reasons { table.add(group.name, "", "", group.verdict, "", "", reason) }
            for process in group.processes {
                table.add(
                    group.name, "\(process.pid)", process.command, process.verdict, "\(process.files)", "\(process.sockets)",
                    process.reasons.joined(separator: "; "))
            }
        }
        return table
    }
}
