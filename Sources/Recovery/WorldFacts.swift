/// What a domain is doing.
public enum DomainCondition: String, Sendable, Codable {
    case running
    case paused
    /// Shut down in good order: powered off, rebooting, suspended for migration.
    case shutDown
    /// Its kernel has panicked, or Xen has stopped it for a fault; memory is preserved.
    case crashed
    /// Being torn down by Xen.
    case dying

    /// Whether its kernel runs, or can go on.
    public var isAlive: Bool { self == .running || self == .paused }
}

/// What Xen says of a domain.
public struct DomainFacts: Sendable, Equatable {
    public var identity: DomainIdentity
    /// From xenstore; nil while the toolstack has not named it.
    public var name: String?
    public var condition: DomainCondition

    public init(identity: DomainIdentity, name: String?, condition: DomainCondition) {
        self.identity = identity
        self.name = name
        self.condition = condition
    }
}

/// What a minor says of itself in xenstore; written by the minor, so hostile only to itself.
public struct MinorStatus: Sendable, Equatable {
    /// The states of the minor protocol.
    public enum State: String, Sendable {
        case booting, learning, armed, refused, mapping, salvaging, done, failed
        /// What is to be saved is in part on disks of main's, which the minor asks for.
        case waiting
    }

    public var state: State
    /// Reason or progress, for people.
    public var detail: String?
    /// Counts up while the minor is armed and alive.
    public var heartbeat: UInt64?
    public var progress: String?
    public var kernel: String?
    public var timeline: [Phase]

    public init(state: State, detail: String? = nil, heartbeat: UInt64? = nil, progress: String? = nil) {
        self.state = state
        self.detail = detail
        self.heartbeat = heartbeat
        self.progress = progress
        timeline = []
    }
}

/// How a salvage in the control domain ended.
public enum SalvageResult: Sendable, Equatable {
    /// A manifest is on the volume; what did not fit or was refused is in it.
    case done
    /// Nothing usable is on the volume.
    case failed(String)
    case timeLimit
}

/// What main's agent reports after it has restored; written by main, so not to be trusted beyond its own fate.
public struct AgentReport: Codable, Sendable, Equatable {
    public struct Group: Codable, Sendable, Equatable {
        public var name: String
        public var outcome: String
        public var reason: String?
        public var seconds: Double?

        public init(name: String, outcome: String, reason: String? = nil, seconds: Double? = nil) {
            self.name = name
            self.outcome = outcome
            self.reason = reason
            self.seconds = seconds
        }
    }

    public var id: String?
    /// Why nothing at all was restored.
    public var failure: String?
    public var restoredAt: Double?
    public var groups: [Group]
    public var timeline: [Phase]?

    public init(id: String?, groups: [Group]) {
        self.id = id
        self.groups = groups
    }
}

/// A checkpoint of which something is kept for a look.
public struct KeptCheckpoint: Sendable, Equatable {
    public var recovery: String
    /// The groups that run again, whose images are of no use any more.
    public var restored: Set<String>

    public init(recovery: String, restored: Set<String>) {
        self.recovery = recovery
        self.restored = restored
    }
}

/// What was found on the recovery volume after a recovery: the manifest's verdicts.
public struct VolumeFindings: Sendable, Equatable {
    /// The recovery that the manifest belongs to; nil when there is no manifest.
    public var id: String?
    public var cause: String?
    public var kernel: String?
    public var timeline: [Phase]
    public var groups: [GroupResult]
    /// Where the images were moved, relative to the volume's root; nil when they were cleared.
    public var kept: String?

    public init() {
        timeline = []
        groups = []
    }
}

/// What the guest's configuration says, as far as protection depends on it.
public struct MainConfiguration: Sendable, Equatable {
    public var name: String?
    /// `pv`, `pvh`, `hvm`; nil when the file does not say (then it is `pv`).
    public var type: String?
    /// nil when the file does not say (then it is `destroy`).
    public var onCrash: String?
    /// What the running domain was created with; nil when it cannot be known.
    public var liveOnCrash: String?
    /// How the guest gets its time stamp counter; nil when the file does not say.
    public var tscMode: String?

    public init(name: String?, type: String?, onCrash: String?, liveOnCrash: String? = nil) {
        self.name = name
        self.type = type
        self.onCrash = onCrash
        self.liveOnCrash = liveOnCrash
    }

    public var isPV: Bool { type ?? "pv" == "pv" }
}
