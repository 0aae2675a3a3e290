import ArgumentParser
import DaemonAPI
import Foundation
import Recovery

struct HistoryCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(commandName: "history", abstract: "Show past recoveries, newest first.")

    @Argument(help: ArgumentHelp("Only this guest's.", valueName: "domain"))
    var domain: String?
    @Option(help: ArgumentHelp("At most so many, up to 1000.", valueName: "N"))
    var limit = 50
    @OptionGroup var output: OutputOptions
    @OptionGroup var daemon: DaemonOptions

    func run() async throws {
        var query = [("limit", "\(limit)")]
        if let domain { query.append(("guest", try guestName(domain))) }
        let answer = try await daemon.client.get(RecoveriesDocument.self, "/v1/recoveries", query: query)
        switch output.format {
        case .json: try printJSON(answer)
        case .table:
            var table = Table("RECOVERY", "GUEST", "CRASHED", "OUTCOME", "GROUPS", "DOWNTIME", "REASON")
            for recovery in answer.body.recoveries {
                let back = recovery.groups.filter { $0.outcome == "restored" }.count
                table.add(
                    recovery.id, recovery.guest, timeText(recovery.crashedAt), recovery.outcome.rawValue,
                    "\(back)/\(recovery.groups.count)", downtimeText(recovery), recovery.reasons.last ?? "")
            }
            table.printOut()
        }
    }
}

struct ShowCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "show", abstract: "Show one recovery: verdicts, states and timeline.")

    @Argument(help: ArgumentHelp("Its name in xenpr history.", valueName: "recovery"))
    var recovery: String
    @OptionGroup var output: OutputOptions
    @OptionGroup var daemon: DaemonOptions

    func run() async throws {
        guard GuestName.isValid(recovery) || recovery.utf8.count > 64 else {
            throw ValidationError("\(recovery) is not the name of a recovery; xenpr history shows them")
        }
        let answer = try await daemon.client.get(RecoveryDocument.self, "/v1/recoveries/\(recovery)")
        switch output.format {
        case .json: try printJSON(answer)
        case .table: printOut(answer.body)
        }
    }

    private func printOut(_ document: RecoveryDocument) {
        let recovery = document.recovery
        var facts = Table("RECOVERY", "GUEST", "CRASHED", "OUTCOME", "SALVAGED BY", "DOWNTIME", "KERNEL")
        facts.add(
            recovery.id, recovery.guest, timeText(recovery.crashedAt), recovery.outcome.rawValue,
            recovery.salvagedBy?.rawValue ?? "-", downtimeText(recovery), recovery.kernel ?? "-")
        facts.printOut()
        if let cause = recovery.cause { print("\ncause: \(cause)") }
        for reason in recovery.reasons { print("reason: \(reason)") }
        if let kept = recovery.kept { print("kept on the volume: \(kept)") }
        if !recovery.groups.isEmpty {
            print("")
            groups(recovery.groups).printOut()
        }
        if recovery.groups.contains(where: { !$0.processes.isEmpty }) {
            print("")
            processes(recovery.groups).printOut()
        }
        print("")
        timeline(recovery).printOut()
    }

    private func groups(_ groups: [GroupResult]) -> Table {
        var table = Table("GROUP", "VERDICT", "OUTCOME", "SIZE", "PAGES", "SECONDS", "REASON")
        for group in groups {
            table.add(
                group.name, group.verdict ?? "-", group.outcome ?? "-", group.bytes.map(sizeText) ?? "-",
                group.pages.map(String.init) ?? "-", group.seconds.map { fixed($0, 2) } ?? "-",
                group.reasons.joined(separator: "; "))
        }
        return table
    }

    private func processes(_ groups: [GroupResult]) -> Table {
        var table = Table("GROUP", "TASK", "COMMAND", "VERDICT", "MEMORY", "FILES", "SOCKETS", "REASON")
        for group in groups {
            for process in group.processes {
                table.add(
                    group.name, "\(process.pid)", process.command, process.verdict,
                    process.memoryBytes.map(sizeText) ?? "-", process.files.map(String.init) ?? "-",
                    process.sockets.map(String.init) ?? "-", (process.reasons ?? []).joined(separator: "; "))
            }
        }
        return table
    }

    private func timeline(_ recovery: RecoveryRecord) -> Table {
        var table = Table("PHASE", "START", "SECONDS", "SIZE", "PAGES")
        for phase in recovery.timeline {
            table.add(
                phase.phase, "+\(fixed(phase.start - recovery.crashedAt, 2))", fixed(phase.seconds, 2),
                phase.bytes.map(sizeText) ?? "", phase.pages.map(String.init) ?? "")
        }
        return table
    }
}

struct DoctorCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "doctor", abstract: "Check the host and the protected guests, and say how to mend what is wrong.",
        discussion: "Exit code 0 when all is well, 2 when there are only warnings, 1 when something fails.")

    @Argument(help: ArgumentHelp("Only this guest, and the host.", valueName: "domain"))
    var domain: String?
    @OptionGroup var output: OutputOptions
    @OptionGroup var daemon: DaemonOptions

    func run() async throws {
        let query = try domain.map { [("guest", try guestName($0))] } ?? []
        let answer = try await daemon.client.get(DoctorDocument.self, "/v1/doctor", query: query)
        switch output.format {
        case .json: try printJSON(answer)
        case .table:
            var table = Table("CHECK", "STATUS", "FINDING", "FIX")
            for check in answer.body.checks { table.add(check.check, check.status.rawValue, check.finding, check.fix ?? "") }
            table.printOut()
        }
        let statuses = answer.body.checks.map(\.status)
        if statuses.contains(.failed) { throw ExitCode.failure }
        if statuses.contains(.warning) { throw ExitCode.partly }
    }
}

/// Local date and time: `2026-11-22 21:46:02`.
func timeText(_ time: Timestamp) -> String {
    text(time, "yyyy-MM-dd HH:mm:ss")
}

/// Local time of day: `21:46:02`.
func clockText(_ time: Timestamp) -> String {
    text(time, "HH:mm:ss")
}

private func text(_ time: Timestamp, _ format: String) -> String {
    let formatter = DateFormatter()
    formatter.locale = Locale(identifier: "en_US_POSIX")
    formatter.dateFormat = format
    return formatter.string(from: Date(timeIntervalSince1970: time.unixSeconds))
}

/// Seconds from the crash to the agent's report, or to the end of a recovery without one.
private func downtimeText(_ recovery: RecoveryRecord) -> String {
    recovery.finishedAt.map { "\(fixed($0 - recovery.crashedAt, 1)) s" } ?? "-"
}
