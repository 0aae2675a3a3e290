/// How a recovery ended.
public enum RecoveryOutcome: String, Codable, Sendable {
    /// Not over yet.
    case running
    case recovered
    case degraded
    case failed
}

/// A phase of a recovery: when it began, how long it took, what it moved.
public struct Phase: Codable, Sendable, Equatable {
    public var phase: String
    /// Unix seconds.
    public var start: Timestamp
    public var seconds: Double
    public var bytes: UInt64?
    public var pages: UInt64?

    public init(phase: String, start: Timestamp, seconds: Double, bytes: UInt64? = nil, pages: UInt64? = nil) {
        self.phase = phase
        self.start = start
        self.seconds = seconds
        self.bytes = bytes
        self.pages = pages
    }
}

/// What became of one process of a group, from the checkpoint's manifest.
public struct ProcessVerdict: Codable, Sendable, Equatable {
    public var pid: Int
    public var command: String
    public var verdict: String
    public var reasons: [String]?
    public var memoryBytes: UInt64?
    public var files: Int?
    public var sockets: Int?
}

/// What became of one group: the salvage's verdict and the agent's outcome.
public struct GroupResult: Codable, Sendable, Equatable {
    public var name: String
    /// `full`, `degraded`, `refused`; nil while the manifest on the volume has not been read.
    public var verdict: String?
    public var reasons: [String]
    /// `restored`, `failed`, `skipped`; nil when the agent has not said.
    public var outcome: String?
    public var bytes: UInt64?
    public var pages: UInt64?
    public var seconds: Double?
    public var processes: [ProcessVerdict]

    public init(name: String, verdict: String? = nil, reasons: [String] = [], outcome: String? = nil) {
        self.name = name
        self.verdict = verdict
        self.reasons = reasons
        self.outcome = outcome
        processes = []
    }

    /// Whether the group runs again exactly as it was.
    var isWhole: Bool { outcome == "restored" && (verdict ?? "full") == "full" }
}

/// One crash and what was made of it.
public struct RecoveryRecord: Codable, Sendable, Equatable {
    /// Unique and sortable by time: `main-1795391162`.
    public var id: String
    public var guest: String
    /// When xenprd saw that main was dead.
    public var crashedAt: Timestamp
    public var finishedAt: Timestamp?
    /// The domain number of the dead main.
    public var deadDomain: UInt32
    /// The panic message, when it could be read from the dead kernel's log.
    public var cause: String?
    public var kernel: String?
    /// Who read the dead main; nil when nobody did.
    public var salvagedBy: Salvager?
    /// The salvage is complete and the new main is given the recovery volume.
    public var withVolume: Bool
    public var outcome: RecoveryOutcome
    /// What was lost and why, one sentence each, in the order of events.
    public var reasons: [String]
    /// Where on the volume the images were kept for a look; nil when they were not.
    public var kept: String?
    public var timeline: [Phase]
    public var groups: [GroupResult]

    public init(guest: String, deadDomain: UInt32, crashedAt: Timestamp) {
        id = "\(guest)-\(Int64(crashedAt.unixSeconds))"
        self.guest = guest
        self.crashedAt = crashedAt
        self.deadDomain = deadDomain
        withVolume = false
        outcome = .running
        reasons = []
        timeline = []
        groups = []
    }
}
