import Glibc
import PlainJSON

/// What a restore did (`report.json`, schema "xenpr.report/1").
struct RestoreReport {
    /// Of the recovery; nil when not even that could be read.
    let id: String?
    /// Why nothing at all was restored.
    var failure: String?
    var groups: [Group] = []
    var phases: [Phase] = []
    var files: [FileCatchUp.Problem] = []

    struct Group {
        enum Outcome: String {
            case restored, failed, skipped
        }

        let name: GroupName
        let outcome: Outcome
        let reason: String?
        /// What the restore took.
        let seconds: Double
        /// When its processes ran again, in Unix seconds; nil when they do not.
        let restoredAt: Double?
        /// CRIU's log, on the recovery volume.
        let log: String?
    }

    /// A part of the restore; `start` in Unix seconds.
    struct Phase {
        let name: String
        let start: Double
        let seconds: Double
        var bytes = 0
    }

    /// Where the last report stays when the volume is gone.
    static let path = "/var/lib/xenpr/report.json"

    /// What the control domain takes at once; the volume has all of it.
    private static let publishedProblems = 100

    /// The part that is published.
    var published: JSONValue {
        var part = self
        part.files = Array(files.prefix(Self.publishedProblems))
        return part.json
    }

    var json: JSONValue {
        [
            "schema": "xenpr.report/1",
            "id": JSONValue(id),
            "failure": JSONValue(failure),
            "restored_at": .number(unixSeconds()),
            "groups": .array(
                groups.map { group in
                    [
                        "name": .string(group.name.description), "outcome": .string(group.outcome.rawValue),
                        "reason": JSONValue(group.reason), "seconds": .number(rounded(group.seconds)),
                        "restored_at": JSONValue(group.restoredAt), "log": JSONValue(group.log),
                    ]
                }),
            "files": .array(files.map { ["path": .string($0.path), "reason": .string($0.reason)] }),
            "timeline": .array(
                phases.map { phase in
                    [
                        "phase": .string(phase.name), "start": .number(phase.start), "seconds": .number(rounded(phase.seconds)),
                        "bytes": JSONValue(phase.bytes),
                    ]
                }),
        ]
    }

    /// 0 when all that could be restored was, 2 when something else was, 1 when nothing was.
    var exitCode: Int32 {
        let failed = groups.contains { $0.outcome == .failed }
        let restored = groups.contains { $0.outcome == .restored }
        return failed ? (restored ? ExitCode.partly : ExitCode.failed) : ExitCode.done
    }

    /// Measures one phase, whose work gives the number of bytes that it moved.
    mutating func measure(_ name: String, _ work: (inout RestoreReport) -> Int) {
        let start = unixSeconds()
        let begin = monotonicSeconds()
        let bytes = work(&self)
        phases.append(Phase(name: name, start: start, seconds: monotonicSeconds() - begin, bytes: bytes))
    }
}

/// Milliseconds are as exact as a report needs to be.
private func rounded(_ seconds: Double) -> Double { (seconds * 1000).rounded() / 1000 }

/// CLOCK_REALTIME in seconds.
func unixSeconds() -> Double {
    var now = timespec()
    // The kernel fills the structure that is passed; the clock exists on every Linux.
    unsafe clock_gettime(CLOCK_REALTIME, &now)
    return ((Double(now.tv_sec) + Double(now.tv_nsec) / 1e9) * 1000).rounded() / 1000
}
