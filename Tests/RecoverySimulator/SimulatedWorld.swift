import Recovery

/// A Xen host, an xenprd's desk and a clock, all in one place and in simulated time; deterministic.
///
/// Only `wait` and the long effects let time pass. Whatever may be interrupted by a `kill -9` asks `step()` before and
/// after: the world can end xenprd at any of these points, which are numbered.
public actor SimulatedWorld: GuestHost, GuestDesk {
    public enum Volume: Equatable, Sendable {
        case free
        case attached(to: UInt32)
    }

    struct Domain {
        var identity: DomainIdentity
        var name: String
        var condition: DomainCondition
        var born: Double
        /// The main that a minor serves.
        var target: DomainIdentity?
        var commanded: Double?
        /// When main's disks were given to the minor.
        var hasDisksSince: Double?
        /// The recovery that the minor was commanded to salvage for.
        var recovery: String?
        var silentSince: Double?
        var withVolume = false
    }

    var scenario: Scenario
    public internal(set) var clock = 0.0
    var domains: [UInt32: Domain] = [:]
    var nextDomain: UInt32 = 1
    var leaving = false
    /// What is on the volume: the recovery whose manifest is complete.
    public internal(set) var manifest: String?
    public internal(set) var kept: [String] = []
    public internal(set) var journaled: ProtectionRecord
    public private(set) var log: [String] = []
    /// Recoveries as the journal has them, in order.
    public private(set) var recoveries: [RecoveryRecord] = []

    // Kills.
    private var points = 0
    private var killPoint: Int?
    private var killed = false

    public init(_ scenario: Scenario, killAt point: Int? = nil) {
        self.scenario = scenario
        killPoint = point
        journaled = ProtectionRecord(guest: "main", settings: scenario.settings, at: Timestamp(unixSeconds: 0))
        journaled.accepted = scenario.accepted
        let identity = DomainIdentity(id: 1, uuid: "uuid-1")
        domains[1] = Domain(identity: identity, name: "main", condition: .running, born: -60)
        nextDomain = 2
    }

    // MARK: For the tests

    public var ended: Bool { clock >= scenario.until }
    /// How many points there were at which xenprd could have been killed.
    public var pointCount: Int { points }
    public var isMainUp: Bool { domains.values.contains { $0.target == nil && $0.condition == .running } }
    public var minorCount: Int { domains.values.count { $0.target != nil } }

    /// Whether xenprd was killed; it is alive again afterwards.
    public func takeKill() -> Bool {
        defer { killed = false }
        if killed { note("--- xenprd is killed, a new one begins") }
        return killed
    }

    /// For tests with a clock of their own: lets so many seconds pass here.
    public func advance(_ seconds: Double) {
        let target = clock + seconds
        while clock < target, !ended { pass(until: target) }
    }

    /// Lets an event happen now.
    public func now(_ event: Scenario.Event) { happen(event) }

    func note(_ line: String) {
        let time = "\(Int(clock.rounded()))"
        log.append(String(repeating: " ", count: max(0, 5 - time.count)) + time + "  " + line)
    }

    /// A point at which a kill can come.
    func step() throws(WorldFailure) {
        if killed || ended { throw .stopped }
        points += 1
        if points == killPoint {
            killed = true
            throw .stopped
        }
    }

    // MARK: GuestDesk

    public func now() -> Timestamp { Timestamp(unixSeconds: clock) }

    public func isLeaving() -> Bool { leaving }

    public func wait(until deadline: Timestamp) throws(WorldFailure) {
        try step()
        pass(until: deadline.unixSeconds)
        if killed || ended { throw .stopped }
    }

    public func journal(_ record: ProtectionRecord, _ transition: Transition?) throws(WorldFailure) {
        try step()
        if let transition {
            note("\(transition.from.rawValue) → \(transition.to.rawValue)" + (transition.detail.map { ": \($0)" } ?? ""))
        }
        if let recovery = record.recovery {
            if let index = recoveries.firstIndex(where: { $0.id == recovery.id }) {
                recoveries[index] = recovery
            } else {
                recoveries.append(recovery)
            }
        }
        if scenario.journalFails { throw .failed("database or disk is full") }
        journaled = record
        try step()
    }

    // MARK: Time

    /// Lets time pass to the next thing that happens, at most to `deadline`.
    func pass(until deadline: Double) {
        var next = min(deadline, scenario.until)
        if let event = scenario.events.first { next = min(next, event.at) }
        for moment in moments where moment > clock { next = min(next, moment) }
        clock = max(clock, next)
        while let event = scenario.events.first, event.at <= clock {
            scenario.events.removeFirst()
            happen(event.event)
        }
    }

    /// When minors and agents will show something new.
    private var moments: [Double] {
        var moments: [Double] = []
        for domain in domains.values {
            if domain.target != nil {
                if !scenario.minorNeverReady { moments.append(domain.born + scenario.minorArmedAfter) }
                if let commanded = domain.commanded {
                    moments += [commanded + 1, commanded + scenario.minorSeconds]
                }
            } else if domain.withVolume {
                moments.append(domain.born + scenario.agentAfter)
            }
        }
        return moments
    }

    private func happen(_ event: Scenario.Event) {
        note("* \(event.text)")
        let main = domains.values.filter { $0.target == nil }.max { $0.identity.id < $1.identity.id }
        switch event {
        case .panic:
            if let main { domains[main.identity.id]?.condition = .crashed }
        case .minorDies:
            for id in domains.keys where domains[id]?.target != nil { domains[id] = nil }
        case .minorSilent:
            for id in domains.keys where domains[id]?.target != nil { domains[id]?.silentSince = clock }
        case .destroyed, .migrated:
            if let main { domains[main.identity.id] = nil }
        case .started:
            _ = addMain(withVolume: false)
        case .rebooted:
            if let main { domains[main.identity.id] = nil }
            _ = addMain(withVolume: main?.withVolume ?? false)
        case .renamed(let name):
            if let main { domains[main.identity.id]?.name = name }
        case .unprotect:
            leaving = true
        case .kill:
            killed = true
        }
    }

    func addMain(withVolume: Bool) -> DomainIdentity {
        let identity = DomainIdentity(id: nextDomain, uuid: "uuid-\(nextDomain)")
        domains[nextDomain] = Domain(identity: identity, name: "main", condition: .running, born: clock, withVolume: withVolume)
        nextDomain += 1
        return identity
    }
}

extension Scenario.Event {
    var text: String {
        switch self {
        case .panic: "main panics"
        case .minorDies: "the minor dies"
        case .minorSilent: "the minor falls silent"
        case .destroyed: "the operator destroys main"
        case .started: "the operator starts main"
        case .rebooted: "the operator reboots main"
        case .renamed(let name): "the operator renames main to \(name)"
        case .migrated: "main is migrated away"
        case .unprotect: "the operator asks to unprotect"
        case .kill: "kill -9 of xenprd"
        }
    }
}
