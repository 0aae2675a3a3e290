import DaemonAPI
import Logging
import Recovery
import ServiceLifecycle

/// All protected guests of this host, each with an engine of its own.
public actor GuestRegistry<Host: DaemonHost>: Service {
    let host: Host
    public nonisolated let journal: Journal
    public nonisolated let hub: EventHub
    private let limits: Limits
    private let logger: Logger
    private var desks: [String: SessionDesk] = [:]
    /// Names whose `protect` is being checked; two at once must not both begin.
    private var beginning: Set<String> = []
    private let starts: AsyncStream<SessionDesk>
    private let start: AsyncStream<SessionDesk>.Continuation

    public init(host: Host, journal: Journal, hub: EventHub, limits: Limits, logger: Logger) {
        self.host = host
        self.journal = journal
        self.hub = hub
        self.limits = limits
        self.logger = logger
        (starts, start) = AsyncStream.makeStream(of: SessionDesk.self)
    }

    /// Takes up the journal's guests and lives all guests' lives until xenprd is stopped. No guest is let go by that: each
    /// stays in its state, and the next xenprd goes on.
    public func run() async throws {
        let (records, unreadable) = try await journal.guests()
        for name in unreadable {
            logger.error(
                "cannot read the guest's record in the journal: it is not protected; unprotect and protect it again",
                metadata: ["guest": "\(name)"])
        }
        for record in records {
            logger.notice("taking up", metadata: ["guest": "\(record.guest)", "state": "\(record.state.rawValue)"])
            begin(record)
        }
        await cancelWhenGracefulShutdown {
            await withDiscardingTaskGroup { group in
                group.addTask { await self.followChanges() }
                for await desk in self.starts {
                    group.addTask { await self.live(desk) }
                }
                group.cancelAll()
            }
        }
        await hub.close()
    }

    /// Whatever changes on the host, everyone looks again: a look costs a few hypercalls, a missed change a guest.
    private func followChanges() async {
        for await _ in host.changes() {
            for desk in desks.values { await desk.ring() }
        }
    }

    private func live(_ desk: SessionDesk) async {
        let record = await desk.record
        var engine = GuestEngine(
            record: record, host: host.guest(record.guest), desk: desk, limits: limits, logger: logger)
        do {
            try await engine.run()
            if desks[record.guest] === desk { desks[record.guest] = nil }
        } catch {
            logger.info("left as it is", metadata: ["guest": "\(record.guest)", "state": "\(engine.record.state.rawValue)"])
        }
    }

    private func begin(_ record: ProtectionRecord) {
        let desk = SessionDesk(record: record, journal: journal, hub: hub)
        desks[record.guest] = desk
        start.yield(desk)
    }

    // MARK: For the API

    public func records() async -> [ProtectionRecord] {
        var records: [ProtectionRecord] = []
        for desk in desks.values { records.append(await desk.record) }
        return records.sorted { $0.guest < $1.guest }
    }

    public func record(_ guest: String) async throws(Refusal) -> ProtectionRecord {
        guard let desk = desks[guest] else { throw .notProtected(guest) }
        return await desk.record
    }

    /// Checks everything that can be checked without touching anything, then begins; returns when the guest is armed.
    public func protect(_ guest: String, _ settings: ProtectionSettings, format: Bool) async throws(Refusal) -> ProtectionRecord
    {
        if let desk = desks[guest] {
            let record = await desk.record
            guard record.settings == settings else {
                throw Refusal(
                    409, "already_protected", "\(guest) is already protected with other settings",
                    nextStep: "xenpr unprotect \(guest), then protect it again")
            }
            return record
        }
        guard beginning.insert(guest).inserted else {
            throw Refusal(409, "busy", "another request protects \(guest) just now", nextStep: "xenpr status \(guest)")
        }
        defer { beginning.remove(guest) }
        try await checkConfiguration(guest, settings)
        try await checkVolume(settings.volume, format: format, guest: guest)

        let events = await hub.follow()
        let record = ProtectionRecord(guest: guest, settings: settings, at: SessionDesk.clock())
        do {
            let first = Transition(
                guest: guest, from: .unprotected, to: .arming, at: record.since, detail: nil, recovery: nil)
            try await journal.keep(record, first)
            await hub.tell(EventDocument(guest: GuestDocument(record), transition: first))
        } catch {
            throw Refusal(500, "journal", "cannot record the protection of \(guest): \(error)", nextStep: "xenpr doctor")
        }
        begin(record)
        for await event in events where event.guest.guest == guest {
            switch event.guest.state {
            case .arming: continue
            case .unprotected: throw .couldNotArm(guest, event.guest.detail ?? "no reason was given")
            default: return try await self.record(guest)
            }
        }
        throw Refusal(503, "stopping", "xenprd is being stopped", nextStep: "xenpr status \(guest), when it is back")
    }

    /// Ends the protection; at once, or as soon as main is back when it is being recovered.
    public func unprotect(_ guest: String) async throws(Refusal) -> ProtectionRecord {
        guard let desk = desks[guest] else { throw .notProtected(guest) }
        let events = await hub.follow()
        do {
            try await desk.leave()
        } catch {
            throw Refusal(500, "journal", "cannot record the wish to unprotect \(guest): \(error)", nextStep: "xenpr doctor")
        }
        var last = await desk.record
        if last.state.isRecovering { return last }
        for await event in events where event.guest.guest == guest {
            last = await desk.record
            if event.guest.state == .unprotected || event.guest.state.isRecovering { break }
        }
        return last
    }
}
