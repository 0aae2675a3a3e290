import DaemonAPI
import FlyingFox
import FlyingSocks
import Foundation

/// Events as lines of JSON, for a response that does not end by itself.
struct EventLines: AsyncBufferedSequence {
    typealias Element = UInt8
    let events: AsyncStream<EventDocument>

    func makeAsyncIterator() -> Iterator {
        Iterator(events: events.makeAsyncIterator())
    }

    struct Iterator: AsyncBufferedIteratorProtocol {
        var events: AsyncStream<EventDocument>.Iterator
        private var pending: ArraySlice<UInt8> = []

        init(events: AsyncStream<EventDocument>.Iterator) {
            self.events = events
        }

        mutating func nextBuffer(suggested count: Int) async throws -> [UInt8]? {
            if pending.isEmpty {
                guard let event = await events.next() else { return nil }
                pending = ArraySlice(try WireCoding.encode(Schema("xenpr.event/1", event)) + Data("\n".utf8))
            }
            let buffer = Array(pending.prefix(Swift.max(count, 1)))
            pending = pending.dropFirst(buffer.count)
            return buffer
        }

        mutating func next() async throws -> UInt8? {
            try await nextBuffer(suggested: 1)?.first
        }
    }
}
