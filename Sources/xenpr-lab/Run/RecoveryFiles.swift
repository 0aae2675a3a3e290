import Foundation

/// The parts of recovery.json (schema xenpr.recovery/1) that the lab reports.
struct SalvagedFile: Decodable {
    struct Group: Decodable {
        var name: String
        var verdict: String?
        var reasons: [String]?
        var bytes: Int?
        var pages: Int?
        var processes: [Process]?
    }
    struct Process: Decodable {
        var pid: Int?
        var command: String?
        var verdict: String?
        var reasons: [String]?
    }
    struct Entry: Decodable {
        var phase: String
        var start: Double?
        var seconds: Double?
        var bytes: Int?
        var pages: Int?
    }
    var groups: [Group]?
    var timeline: [Entry]?
}

/// The parts of report.json (schema xenpr.report/1) that the lab reports.
struct RestoredFile: Decodable {
    struct Group: Decodable {
        var name: String
        var outcome: String?
        var reason: String?
        var seconds: Double?
        /// Unix time, by main's clock, at which the group's processes ran again.
        var restoredAt: Double?
    }
    var restoredAt: Double?
    var groups: [Group]?
    var timeline: [SalvagedFile.Entry]?
}

extension RecoveryRecord {
    var salvaged: SalvagedFile? { recovery.flatMap { Self.decode(SalvagedFile.self, from: $0) } }
    var restored: RestoredFile? { report.flatMap { Self.decode(RestoredFile.self, from: $0) } }

    private static func decode<File: Decodable>(_ type: File.Type, from text: String) -> File? {
        let decoder = JSONDecoder()
        decoder.keyDecodingStrategy = .convertFromSnakeCase
        return try? decoder.decode(type, from: Data(text.utf8))
    }

    /// The recovery as the lab's report shows it.
    ///
    /// - Parameter clockOffset: how far main's clock is ahead of the host's, in seconds.
    func summary(trigger: Trigger, clockOffset: Double) -> LabReport.Recovery {
        let salvaged = salvaged
        let restored = restored
        var groups = (salvaged?.groups ?? []).map { group in
            let ofProcesses = (group.processes ?? []).flatMap { process in
                (process.reasons ?? []).map { "\(process.pid ?? 0) (\(process.command ?? "?")): \($0)" }
            }
            return LabReport.Group(
                name: group.name, verdict: group.verdict, reasons: (group.reasons ?? []) + ofProcesses, bytes: group.bytes,
                pages: group.pages)
        }
        for group in restored?.groups ?? [] {
            let index: Int
            if let known = groups.firstIndex(where: { $0.name == group.name }) {
                index = known
            } else {
                groups.append(LabReport.Group(name: group.name))
                index = groups.count - 1
            }
            groups[index].outcome = group.outcome
            groups[index].reason = group.reason
            groups[index].restoreSeconds = group.seconds
            if group.outcome == "restored", let moment = group.restoredAt ?? restored?.restoredAt {
                groups[index].secondsToProgress = max(0, moment - clockOffset - crashedAt.timeIntervalSince1970)
            }
        }
        var recovery = LabReport.Recovery(trigger: trigger.rawValue, salvagedBy: salvagedBy, phases: phases, groups: groups)
        if let restoring = restoring(clockOffset: clockOffset) { recovery.add(restoring: restoring) }
        recovery.downtimeSeconds = groups.compactMap(\.secondsToProgress).max()
        if let index = recovery.phases.firstIndex(where: { $0.phase == "salvaging" }) {
            recovery.phases[index].bytes = recovery.phases[index].bytes ?? groups.compactMap(\.bytes).reduce(0, +)
            recovery.phases[index].pages = recovery.phases[index].pages ?? groups.compactMap(\.pages).reduce(0, +)
        }
        return recovery
    }

    /// The agent's part of the recovery, with main's clock put right. Nil when the agent did not report it.
    private func restoring(clockOffset: Double) -> Phase? {
        let entries = restored?.timeline ?? []
        guard let first = entries.compactMap(\.start).min() else { return nil }
        let last = entries.map { ($0.start ?? first) + ($0.seconds ?? 0) }.max() ?? first
        return Phase(
            phase: "restoring", start: first - clockOffset - crashedAt.timeIntervalSince1970, seconds: last - first,
            bytes: entries.compactMap(\.bytes).reduce(0, +))
    }
}

extension LabReport.Recovery {
    /// Adds the phase, unless the machine has measured it itself; the reboot ends where it begins.
    fileprivate mutating func add(restoring: Phase) {
        guard !phases.contains(where: { $0.phase == restoring.phase }) else { return }
        if let index = phases.firstIndex(where: { $0.phase == "rebooting" }), restoring.start > phases[index].start {
            let reboot = phases[index]
            phases[index] = Phase(
                phase: reboot.phase, start: reboot.start, seconds: min(reboot.seconds, restoring.start - reboot.start))
        }
        phases.append(restoring)
    }
}
