/// Why the environment did not do what the engine asked.
public enum WorldFailure: Error, Sendable, Equatable {
    /// xenprd is being stopped: leave everything as it is, the next one picks up from the journal.
    case stopped
    /// It was tried and did not work, for this reason.
    case failed(String)

    public var message: String {
        switch self {
        case .stopped: "xenprd is being stopped"
        case .failed(let reason): reason
        }
    }
}

/// What xenprd itself gives an engine: the clock, the journal, wake-ups and the operator's wishes.
///
/// The engine is level-triggered: a wake-up says only "look again", and each look reads the facts anew. An event that was
/// lost, or that came while xenprd was dead, therefore costs time but never a guest.
public protocol GuestDesk: Sendable {
    func now() async -> Timestamp

    /// Returns when something about the guest or its minor may have changed, when the operator asked for something, or at
    /// the given moment.
    func wait(until deadline: Timestamp) async throws(WorldFailure)

    /// Makes the record durable; the engine begins a state's effects only afterwards. `transition` is nil when only
    /// details have changed.
    func journal(_ record: ProtectionRecord, _ transition: Transition?) async throws(WorldFailure)

    /// Whether the operator has asked to end the protection; stays true once it was.
    func isLeaving() async -> Bool
}

/// What the engine needs of the Xen host for one guest. Each effect must be safe to begin again after a `kill -9` in its
/// middle.
public protocol GuestHost: Sendable {
    // MARK: Facts

    func domain(_ identity: DomainIdentity) async throws(WorldFailure) -> DomainFacts?
    func domain(named name: String) async throws(WorldFailure) -> DomainFacts?
    /// The minor that serves this life of main, whoever started it; nil when there is none.
    func minor(of main: DomainIdentity) async throws(WorldFailure) -> UInt32?
    /// nil when the minor is gone, or has crashed.
    func minorStatus(_ minor: UInt32) async throws(WorldFailure) -> MinorStatus?
    /// nil while the agent has not reported.
    func agentReport(of main: UInt32) async throws(WorldFailure) -> AgentReport?
    /// What the agent does, in other words each time; nil while it does nothing.
    func agentProgress(of main: UInt32) async throws(WorldFailure) -> String?

    // MARK: Effects

    /// Takes the volume from main when it is attached, reads what the last recovery left, keeps of it what did not come back as
    /// `kept/RECOVERY/` or clears it, and leaves the volume ready for a salvage.
    func readyVolume(
        _ settings: ProtectionSettings, main: UInt32?, keep: KeptCheckpoint?
    ) async throws(WorldFailure) -> VolumeFindings
    /// Starts a minor for main and returns its domain number as soon as it runs.
    func createMinor(for main: DomainIdentity, _ settings: ProtectionSettings) async throws(WorldFailure) -> UInt32
    /// Ends every minor of this guest and returns when they are gone, so that nothing holds the volume.
    func destroyMinors() async throws(WorldFailure)
    /// Reads the dead vCPUs' contexts, gives them to the minor and commands the salvage.
    func handOver(_ main: UInt32, to minor: UInt32, recovery: String) async throws(WorldFailure)
    /// Gives the minor the disks of main that it has asked for, to read them only.
    func attachDisks(of main: UInt32, to minor: UInt32) async throws(WorldFailure)
    /// Salvages from the control domain; ends the work at the deadline.
    func salvageHere(
        _ main: UInt32, _ settings: ProtectionSettings, recovery: String, until deadline: Timestamp
    ) async throws(WorldFailure) -> SalvageResult
    /// Checks from the control domain that main's kernel can be understood; returns the reason when it cannot.
    func kernelRefusal(of main: UInt32) async throws(WorldFailure) -> String?
    func destroyMain(_ main: UInt32) async throws(WorldFailure)
    func createMain(_ settings: ProtectionSettings, withVolume: Bool) async throws(WorldFailure)
}
