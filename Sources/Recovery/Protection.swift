/// Who reads a dead main.
public enum Salvager: String, Codable, Sendable {
    /// The minor domain; the control domain when the minor is dead or silent.
    case minor
    /// A process in the control domain, without any minor.
    case control
}

/// What the operator asked for with `xenpr protect`.
public struct ProtectionSettings: Codable, Sendable, Equatable {
    /// Path of the guest's xl configuration in the control domain; main is created from it again.
    public var config: String
    /// Path of the block device that carries the recovery volume.
    public var volume: String
    public var salvage: Salvager

    public init(config: String, volume: String, salvage: Salvager) {
        self.config = config
        self.volume = volume
        self.salvage = salvage
    }
}

/// How long each step may take, in seconds, before the next best thing is done.
public struct Limits: Codable, Sendable, Equatable {
    /// From the start of a minor until it has learned main's kernel.
    public var arm: Double = 120
    /// From the command to salvage until the minor shows that it has heard.
    public var answer: Double = 15
    /// A minor whose heartbeat stands still for so long is replaced.
    public var heartbeat: Double = 20
    /// The whole salvage, by the minor and by the control domain together.
    public var salvage: Double = 600
    /// From the creation of the new main until its agent has reported or shown progress, and from there to the next.
    public var restore: Double = 300
    /// From the creation of the new main until its agent has reported, whatever progress it shows.
    public var restoreAtMost: Double = 7200
    /// A panic within so long of a restore restores nothing: no crash loop.
    public var crashLoop: Double = 60
    /// Attempts to create main with the recovery volume, before it is created without.
    public var creations = 3
    /// What one of them may take, in which the toolstack makes main.
    public var creation: Double = 180
    /// The pause between two of them: the dead main's memory may not be free yet.
    public var creationPause: Double = 3
    /// The longest pause between two looks at a world that has not announced any change.
    public var look: Double = 10

    public init() {}
}

/// One life of a domain: the number that Xen gave it and the UUID that it was created with.
public struct DomainIdentity: Codable, Sendable, Hashable {
    /// Xen's domain number; a reboot gives another one.
    public var id: UInt32
    /// Lower-case text form.
    public var uuid: String

    public init(id: UInt32, uuid: String) {
        self.id = id
        self.uuid = uuid
    }
}

/// Everything that xenprd must know of a guest to go on after it was killed; the journal holds the newest one.
public struct ProtectionRecord: Codable, Sendable, Equatable {
    public var guest: String
    public var settings: ProtectionSettings
    public var state: GuestState
    /// Since when the guest has been in this state.
    public var since: Timestamp
    /// Why it is in this state, for people; nil when the state says all.
    public var detail: String?
    /// main as last seen.
    public var main: DomainIdentity?
    /// The minor's domain number while there is one.
    public var minor: UInt32?
    /// Release of main's kernel, once the minor has learned it.
    public var kernel: String?
    /// False until the guest was armed for the first time: until then a failure means that `protect` is refused.
    public var accepted: Bool
    /// The operator asked for `unprotect`; done as soon as main is not on its way back.
    public var leaving: Bool
    /// When a restore was last ended, whatever its outcome.
    public var lastRestore: Timestamp?
    /// Attempts to arm that have failed one after the other.
    public var failedAttempts: Int
    /// Not before this moment is arming tried again.
    public var retryAt: Timestamp?
    /// Attempts to create main with the volume that have failed in this recovery.
    public var failedCreations: Int?
    /// The recovery volume may hold something, or be attached to main: it must be taken back before arming.
    public var volumeInUse: Bool
    /// The recovery whose checkpoint is on the volume and has not come back whole: it is kept for a look.
    public var checkpoint: String?
    /// The recovery that is under way, or whose checkpoint is still on the volume.
    public var recovery: RecoveryRecord?

    public init(guest: String, settings: ProtectionSettings, at now: Timestamp) {
        self.guest = guest
        self.settings = settings
        state = .arming
        since = now
        accepted = false
        leaving = false
        failedAttempts = 0
        // What an earlier protection left on the volume must never be restored.
        volumeInUse = true
    }
}

/// A step from one state to the next, as the journal and `GET /v1/events` show it.
public struct Transition: Codable, Sendable, Equatable {
    public var guest: String
    public var from: GuestState
    public var to: GuestState
    public var at: Timestamp
    public var detail: String?
    public var recovery: String?

    public init(guest: String, from: GuestState, to: GuestState, at: Timestamp, detail: String?, recovery: String?) {
        self.guest = guest
        self.from = from
        self.to = to
        self.at = at
        self.detail = detail
        self.recovery = recovery
    }
}
