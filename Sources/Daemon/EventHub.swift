import DaemonAPI
import Recovery

/// Tells everyone who follows (`GET /v1/events`, a `PUT` that waits) what happens to the guests.
public actor EventHub {
    private var followers: [Int: AsyncStream<EventDocument>.Continuation] = [:]
    private var nextFollower = 0

    public init() {}

    /// All events from now on. A follower that does not read misses the oldest ones rather than holding anybody up.
    public func follow() -> AsyncStream<EventDocument> {
        let id = nextFollower
        nextFollower += 1
        let (stream, continuation) = AsyncStream.makeStream(of: EventDocument.self, bufferingPolicy: .bufferingNewest(256))
        followers[id] = continuation
        continuation.onTermination = { [weak self] _ in
            Task { await self?.forget(id) }
        }
        return stream
    }

    /// Ends all streams; for the daemon's own end.
    public func close() {
        for follower in followers.values { follower.finish() }
        followers = [:]
    }

    func tell(_ event: EventDocument) {
        for follower in followers.values { follower.yield(event) }
    }

    private func forget(_ id: Int) {
        followers[id] = nil
    }
}
