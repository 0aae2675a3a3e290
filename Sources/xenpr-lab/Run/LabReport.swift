import Foundation

/// What a run found, as it is written with `--report` (schema xenpr.lab-report/1). Times are in seconds.
struct LabReport: Encodable, Sendable {
    enum Result: String, Encodable, Sendable {
        case passed, failed, skipped
    }

    struct Case: Encodable, Sendable {
        let name: String
        var result: Result
        var message: String
        /// Whether its `start` succeeded.
        var hasStarted = false
        /// The verdict that the case wants, if it wants one.
        var expect: String?
        /// The verdict that salvage gave its group.
        var verdict: String?
        /// From the crash to the first time its processes ran again.
        var secondsToProgress: Double?
        /// How long `check` took.
        var checkSeconds: Double?
    }

    struct Group: Encodable, Sendable {
        let name: String
        var verdict: String?
        var reasons: [String] = []
        /// What the agent made of it: restored, failed or skipped.
        var outcome: String?
        var reason: String?
        var bytes: Int?
        var pages: Int?
        /// What the agent's restore of it took.
        var restoreSeconds: Double?
        /// From the crash to the first time its processes ran again.
        var secondsToProgress: Double?
    }

    struct Recovery: Encodable, Sendable {
        var trigger: String
        var salvagedBy: String
        var phases: [Phase] = []
        var groups: [Group] = []
        /// From the crash to the first progress of the last group.
        var downtimeSeconds: Double?
    }

    /// Whether the emulator itself computed right in the same run.
    struct SelfCheck: Encodable, Sendable {
        let place: String
        let rounds: Int
        let right: Bool
    }

    let schema = "xenpr.lab-report/1"
    var on: String
    /// The Debian that main ran, and its kernel and CRIU.
    var guest = GuestSystem.bookworm.rawValue
    var kernel: String?
    var criu: String?
    var salvage: String
    var startedAt = Date().timeIntervalSince1970
    var seconds: Double = 0
    /// Why the run could not go on, if it could not.
    var failure: String?
    var selfChecks: [SelfCheck] = []
    var recoveries: [Recovery] = []
    var cases: [Case] = []
    var passed: Int { count(.passed) }
    var failed: Int { count(.failed) }
    var skipped: Int { count(.skipped) }
    /// Where the logs of this run are.
    var logs: String

    func count(_ result: Result) -> Int { cases.filter { $0.result == result }.count }

    private enum CodingKeys: String, CodingKey {
        case schema, on, guest, kernel, criu, salvage, startedAt, seconds, failure, selfChecks, recoveries, cases, passed,
            failed, skipped, logs
    }

    func encode(to encoder: any Encoder) throws {
        var container = encoder.container(keyedBy: CodingKeys.self)
        try container.encode(schema, forKey: .schema)
        try container.encode(on, forKey: .on)
        try container.encode(guest, forKey: .guest)
        try container.encodeIfPresent(kernel, forKey: .kernel)
        try container.encodeIfPresent(criu, forKey: .criu)
        try container.encode(salvage, forKey: .salvage)
        try container.encode(startedAt, forKey: .startedAt)
        try container.encode(seconds, forKey: .seconds)
        try container.encodeIfPresent(failure, forKey: .failure)
        try container.encode(selfChecks, forKey: .selfChecks)
        try container.encode(recoveries, forKey: .recoveries)
        try container.encode(cases, forKey: .cases)
        try container.encode(passed, forKey: .passed)
        try container.encode(failed, forKey: .failed)
        try container.encode(skipped, forKey: .skipped)
        try container.encode(logs, forKey: .logs)
    }
}
