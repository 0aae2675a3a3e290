import Recovery

/// A guest as `GET /v1/guests/NAME` shows it (`xenpr.guest/1`).
public struct GuestDocument: Codable, Sendable, Equatable {
    public var guest: String
    public var state: GuestState
    /// Unix seconds.
    public var since: Timestamp
    /// Why it is in this state; absent when the state says all.
    public var detail: String?
    public var mainDomain: UInt32?
    public var minorDomain: UInt32?
    public var kernel: String?
    public var salvage: Salvager
    public var config: String
    public var volume: String
    /// The recovery that is under way.
    public var recovery: String?
    /// Protection ends as soon as main is back.
    public var leaving: Bool

    public init(_ record: ProtectionRecord) {
        guest = record.guest
        state = record.state
        since = record.since
        detail = record.detail
        mainDomain = record.main?.id
        minorDomain = record.minor
        kernel = record.kernel
        salvage = record.settings.salvage
        config = record.settings.config
        volume = record.settings.volume
        recovery = record.recovery?.id
        leaving = record.leaving
    }
}

/// `GET /v1/guests` (`xenpr.guests/1`).
public struct GuestsDocument: Codable, Sendable {
    public var guests: [GuestDocument]

    public init(guests: [GuestDocument]) {
        self.guests = guests
    }
}

/// `GET /v1/recoveries` (`xenpr.recoveries/1`), newest first.
public struct RecoveriesDocument: Codable, Sendable {
    public var recoveries: [RecoveryRecord]

    public init(recoveries: [RecoveryRecord]) {
        self.recoveries = recoveries
    }
}

/// `GET /v1/recoveries/ID` (`xenpr.recovery-record/1`): the record and the states that the guest went through.
public struct RecoveryDocument: Codable, Sendable {
    public var recovery: RecoveryRecord
    public var transitions: [Transition]

    public init(recovery: RecoveryRecord, transitions: [Transition]) {
        self.recovery = recovery
        self.transitions = transitions
    }
}

/// The body of `PUT /v1/guests/NAME`.
public struct ProtectRequest: Codable, Sendable {
    /// Path of the xl configuration; `/etc/xen/NAME.cfg` when absent.
    public var config: String?
    /// Path of the recovery volume's block device; the one of xenprd.toml when absent.
    public var volume: String?
    /// `minor` when absent.
    public var salvage: Salvager?
    /// Whether a blank volume may be formatted; a volume with anything on it never is.
    public var format: Bool?

    public init(config: String? = nil, volume: String? = nil, salvage: Salvager? = nil, format: Bool? = nil) {
        self.config = config
        self.volume = volume
        self.salvage = salvage
        self.format = format
    }

    /// The keys that a body may have; another one is a mistake that must not pass silently.
    public static let keys: Set<String> = ["config", "volume", "salvage", "format"]
}

/// One thing that `doctor` looked at.
public struct Check: Codable, Sendable, Equatable {
    public enum Status: String, Codable, Sendable {
        case ok
        case warning
        case failed
    }

    /// What was looked at: `xen`, `minor kernel`, `guest main`.
    public var check: String
    public var status: Status
    public var finding: String
    /// What to do about it; absent when there is nothing to do.
    public var fix: String?

    public init(_ check: String, _ status: Status, _ finding: String, fix: String? = nil) {
        self.check = check
        self.status = status
        self.finding = finding
        self.fix = fix
    }
}

/// `GET /v1/doctor` (`xenpr.doctor/1`).
public struct DoctorDocument: Codable, Sendable {
    public var checks: [Check]

    public init(checks: [Check]) {
        self.checks = checks
    }
}

/// One line of `GET /v1/events` (`xenpr.event/1`).
public struct EventDocument: Codable, Sendable {
    /// The guest as it is now.
    public var guest: GuestDocument
    /// The step that was made; absent when only details have changed.
    public var transition: Transition?

    public init(guest: GuestDocument, transition: Transition?) {
        self.guest = guest
        self.transition = transition
    }
}

/// Why a request was not done (`xenpr.error/1`).
public struct ErrorDocument: Codable, Sendable {
    public struct Detail: Codable, Sendable {
        /// Stable, for programs: `kernel_not_supported`.
        public var code: String
        public var message: String
        /// What the operator can do; absent when there is nothing to do but report it.
        public var nextStep: String?
    }

    public var error: Detail

    public init(code: String, message: String, nextStep: String?) {
        error = Detail(code: code, message: message, nextStep: nextStep)
    }
}
