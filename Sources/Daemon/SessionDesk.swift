import DaemonAPI
import Foundation
import Recovery

/// What xenprd gives one guest's engine: the clock, the journal, wake-ups, and the operator's wish to end.
actor SessionDesk: GuestDesk {
    private let journal: Journal
    private let hub: EventHub
    /// The newest record, for the API; the engine is its only writer.
    private(set) var record: ProtectionRecord
    private var leaving: Bool
    private var rung = false
    private var waiter: CheckedContinuation<Void, Never>?

    init(record: ProtectionRecord, journal: Journal, hub: EventHub) {
        self.record = record
        self.journal = journal
        self.hub = hub
        leaving = record.leaving
    }

    nonisolated func now() -> Timestamp {
        Timestamp(unixSeconds: Date().timeIntervalSince1970)
    }

    func isLeaving() -> Bool { leaving }

    /// The operator's wish; durable before it is answered, and done by the engine when main can be let go.
    func leave() async throws {
        leaving = true
        record.leaving = true
        try await journal.keep(record, nil)
        ring()
    }

    func journal(_ record: ProtectionRecord, _ transition: Transition?) async throws(WorldFailure) {
        if Task.isCancelled { throw .stopped }
        self.record = record
        // A wish that came while this record was made must not be overwritten.
        self.record.leaving = record.leaving || leaving
        let durable = self.record
        do {
            try await journal.keep(durable, transition)
        } catch is CancellationError {
            throw .stopped
        } catch {
            await hub.tell(EventDocument(guest: GuestDocument(durable), transition: transition))
            throw .failed("\(error)")
        }
        await hub.tell(EventDocument(guest: GuestDocument(durable), transition: transition))
    }

    /// Wakes the engine; remembered when it is not waiting.
    func ring() {
        rung = true
        waiter?.resume()
        waiter = nil
    }

    func wait(until deadline: Timestamp) async throws(WorldFailure) {
        let seconds = deadline - now()
        if !rung, seconds > 0, !Task.isCancelled {
            await withTaskGroup(of: Void.self) { group in
                group.addTask {
                    try? await Task.sleep(for: .seconds(seconds))
                    await self.ring()
                }
                await nextRing()
                group.cancelAll()
            }
        }
        rung = false
        if Task.isCancelled { throw .stopped }
    }

    private func nextRing() async {
        guard !rung else { return }
        // Cancellation cancels the timer beside it, whose end rings.
        await withCheckedContinuation { waiter = $0 }
    }
}
