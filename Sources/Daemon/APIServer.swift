import FlyingFox
import FlyingSocks
import Glibc
import Logging
import ServiceLifecycle

/// Serves the API on a Unix socket that root and the socket's group may use.
public struct APIServer<Host: DaemonHost>: Service {
    let path: String
    let handler: APIHandler<Host>
    let logger: Logger

    public init(path: String, handler: APIHandler<Host>, logger: Logger) {
        self.path = path
        self.handler = handler
        self.logger = logger
    }

    public func run() async throws {
        // Only one xenprd runs (it holds the lock on its journal), so a socket that is there is a dead one's.
        // The path is a string of ours, terminated by the bridging.
        _ = unsafe unlink(path)
        // `protect` answers when the guest is armed, an event stream never ends by itself.
        let server = HTTPServer(
            config: .init(address: .unix(path: path), timeout: 24 * 3600, logger: .disabled), handler: handler)
        try await withGracefulShutdownHandler {
            try await withThrowingTaskGroup(of: Void.self) { group in
                group.addTask { try await server.run() }
                group.addTask {
                    try await server.waitUntilListening(timeout: 60)
                    // Until here the process's umask kept everyone else out.
                    guard unsafe chmod(path, 0o660) == 0 else {
                        throw Refusal(500, "socket", "cannot set the mode of \(path) to 0660: errno \(errno)")
                    }
                    logger.notice("listening", metadata: ["socket": "\(path)"])
                }
                do {
                    try await group.waitForAll()
                } catch  where Task.isCancelled || Task.isShuttingDownGracefully {
                    logger.debug("no longer listening")
                }
            }
        } onGracefulShutdown: {
            Task { await server.stop() }
        }
        _ = unsafe unlink(path)
    }
}
