import Dispatch
import Logging
import XenControl

/// Tells when something on the host may have changed: a domain that appears, stops or goes, and the nodes that minors and
/// agents write. Events of xenstore, no polling. Lives as long as the daemon.
actor XenWatcher {
    private let store: XenStore
    private let logger: Logger
    private let source: any DispatchSourceRead
    private let readable: AsyncStream<Void>
    private var watched: Set<String> = []

    init(logger: Logger) throws(XenError) {
        store = try XenStore()
        self.logger = logger
        let (stream, continuation) = AsyncStream.makeStream(of: Void.self, bufferingPolicy: .bufferingNewest(1))
        readable = stream
        source = DispatchSource.makeReadSource(fileDescriptor: store.eventDescriptor, queue: .global())
        source.setEventHandler { continuation.yield() }
        try store.watch("@releaseDomain", token: "")
        try store.watch("@introduceDomain", token: "")
        source.activate()
    }

    /// Watches a node as well; watching it twice is fine.
    func follow(_ path: String) {
        guard watched.insert(path).inserted else { return }
        do {
            try store.watch(path, token: "")
        } catch {
            // The engine looks again after a while anyway.
            watched.remove(path)
            logger.warning("\(error)")
        }
    }

    /// Ends the watches of a domain that is gone, for xenstore limits their number.
    func forget(_ domain: DomainID) {
        for path in watched where path.hasPrefix(domain.storePath + "/") {
            watched.remove(path)
            // Nothing depends on it: at worst a watch stays that never fires again.
            try? store.unwatch(path, token: "")
        }
    }

    /// Calls `changed` once for each burst of events, until the task is cancelled.
    func run(_ changed: @Sendable () -> Void) async {
        for await _ in readable where drain() { changed() }
    }

    private func drain() -> Bool {
        var any = false
        do {
            while try store.nextEvent(timeoutMilliseconds: 0) != nil { any = true }
        } catch {
            logger.error("\(error)")
        }
        return any
    }
}
