import Logging

/// The life of one protected guest, from arming to recovery and back.
///
/// Each call of a state's step looks at the world, does one thing, and either changes the state or waits. A state is
/// journalled before its effects begin, and each effect may be begun again, so that a new engine made from the journal's
/// record goes on where a killed one stood. The rule over all: whatever fails, main comes back as after a plain reboot.
public struct GuestEngine<Host: GuestHost, Desk: GuestDesk>: Sendable {
    public internal(set) var record: ProtectionRecord
    let host: Host
    let desk: Desk
    let limits: Limits
    let logger: Logger
    /// The minor's last heartbeat and when it was first seen; not journalled, for a new engine must see it move itself.
    var heartbeat: (count: UInt64, seen: Timestamp)?

    /// What main's agent said last of its work, and when that was new; not journalled either.
    var agentProgress: (text: String, seen: Timestamp)?

    public init(record: ProtectionRecord, host: Host, desk: Desk, limits: Limits, logger: Logger) {
        self.record = record
        self.host = host
        self.desk = desk
        self.limits = limits
        var logger = logger
        logger[metadataKey: "guest"] = "\(record.guest)"
        self.logger = logger
    }

    /// Lives the guest's life until it is unprotected; throws only `.stopped`.
    public mutating func run() async throws(WorldFailure) {
        while record.state != .unprotected {
            do {
                try await step()
            } catch .stopped {
                throw .stopped
            } catch .failed(let reason) {
                // No state may end here for good: say it, wait, look again.
                logger.warning("step failed", metadata: ["state": "\(record.state)", "reason": "\(reason)"])
                try await pause(limits.look, saying: reason)
            }
        }
    }

    mutating func step() async throws(WorldFailure) {
        switch record.state {
        case .unprotected: break
        case .arming: try await arm()
        case .armed: try await watchOver()
        case .crashed: try await takeOver()
        case .salvaging: try await salvage()
        case .rebooting: try await reboot()
        case .restoring: try await restore()
        case .recovered, .degraded: try await settle()
        case .failed: try await settleFailure()
        }
    }

    // MARK: What every state needs

    /// Changes the state, durably, before anything is done in it.
    mutating func enter(_ state: GuestState, _ detail: String? = nil) async throws(WorldFailure) {
        let now = await desk.now()
        let transition = Transition(
            guest: record.guest, from: record.state, to: state, at: now, detail: detail, recovery: record.recovery?.id)
        record.state = state
        record.since = now
        record.detail = detail
        logger.notice("\(transition.from.rawValue) → \(state.rawValue)", metadata: detail.map { ["reason": "\($0)"] })
        try await save(transition)
    }

    /// Keeps the record. A journal that cannot be written (a full disk) must not cost the guest its recovery, so that
    /// failure is logged and life goes on.
    mutating func save(_ transition: Transition? = nil) async throws(WorldFailure) {
        record.leaving = await isLeaving()
        do {
            try await desk.journal(record, transition)
        } catch .stopped {
            throw .stopped
        } catch .failed(let reason) {
            logger.error(
                "cannot write the journal; a restart of xenprd would not know of this step", metadata: ["reason": "\(reason)"])
        }
    }

    /// Waits for a change, at most so many seconds, and shows why.
    mutating func pause(_ seconds: Double, saying detail: String?) async throws(WorldFailure) {
        if record.detail != detail {
            record.detail = detail
            try await save()
        }
        try await desk.wait(until: await desk.now() + seconds)
    }

    /// The life of main that is there now: the one we know, under whatever name, or else the one that has main's name.
    func findMain() async throws(WorldFailure) -> DomainFacts? {
        if let known = record.main, let facts = try await host.domain(known) {
            return facts
        }
        return try await host.domain(named: record.guest)
    }

    /// Ends the protection when the operator has asked for it; true when it is over.
    mutating func leaveIfAsked() async throws(WorldFailure) -> Bool {
        guard await isLeaving() else { return false }
        try await host.destroyMinors()
        record.minor = nil
        if record.accepted, record.volumeInUse {
            // As a courtesy: main should not go on with a volume attached that nobody looks after.
            do {
                try await readyVolume()
            } catch .stopped {
                throw .stopped
            } catch .failed(let reason) {
                logger.warning("the recovery volume is left as it is", metadata: ["reason": "\(reason)"])
            }
        }
        conclude()
        try await enter(.unprotected, "on request")
        return true
    }

    func isLeaving() async -> Bool {
        if record.leaving { return true }
        return await desk.isLeaving()
    }

    mutating func dropMinor() async throws(WorldFailure) {
        heartbeat = nil
        try await host.destroyMinors()
        if record.minor != nil {
            record.minor = nil
            try await save()
        }
    }

    /// Adds a phase that began at `start` and ends now to the recovery's timeline.
    mutating func mark(_ phase: String, since start: Timestamp) async {
        let now = await desk.now()
        record.recovery?.timeline.append(Phase(phase: phase, start: start, seconds: now - start))
    }

    mutating func addReason(_ reason: String) {
        record.recovery?.reasons.append(reason)
    }
}
