import Daemon
import DaemonAPI
import FlyingFox
import FlyingSocks
import Foundation
import Logging
import Recovery
import Testing

/// A whole daemon over a simulated host, on a socket and a journal in a directory of its own.
final class TestDaemon: Sendable {
    let directory: URL
    let socket: String
    private let task: Task<Void, any Error>

    /// - Parameter directory: of an earlier daemon, to go on where it ended.
    init(_ host: SimulatedHost, in directory: URL? = nil) async throws {
        let directory =
            directory
            ?? FileManager.default.temporaryDirectory.appending(path: "xenpr-test-\(UInt32.random(in: 0..<UInt32.max))")
        try FileManager.default.createDirectory(at: directory, withIntermediateDirectories: true)
        self.directory = directory
        let socket = directory.appending(path: "s").path
        self.socket = socket
        let logger = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }
        let journal = try Journal(path: directory.appending(path: "journal.sqlite").path)
        let registry = GuestRegistry(host: host, journal: journal, hub: EventHub(), limits: Limits(), logger: logger)
        let server = APIServer(
            path: socket, handler: APIHandler(registry: registry, defaultVolume: "/dev/vg/recovery", logger: logger),
            logger: logger)
        task = Task {
            try await withThrowingTaskGroup(of: Void.self) { group in
                group.addTask { try await registry.run() }
                group.addTask { try await server.run() }
                try await group.waitForAll()
            }
        }
        while try !(await answers()) { try await Task.sleep(for: .milliseconds(10)) }
    }

    private func answers() async throws -> Bool {
        var client = HTTPClient()
        let request = HTTPRequest(method: .GET, version: .http11, path: "/v1/guests", query: [], headers: [:], body: Data())
        return (try? await client.sendHTTPRequest(request, to: .unix(path: socket))) != nil
    }

    /// Ends it; the guests stay in their states, in the journal too when a next daemon is to go on.
    func stop(keepJournal: Bool = false) async {
        task.cancel()
        _ = try? await task.value
        if !keepJournal { try? FileManager.default.removeItem(at: directory) }
    }

    struct Answer {
        var status: Int
        var json: [String: Any]

        var code: String? { (json["error"] as? [String: Any])?["code"] as? String }
        var nextStep: String? { (json["error"] as? [String: Any])?["next_step"] as? String }
        var state: String? { json["state"] as? String }
    }

    func send(_ method: HTTPMethod, _ path: String, _ body: String = "", query: [(String, String)] = []) async throws -> Answer
    {
        var client = HTTPClient()
        let request = HTTPRequest(
            method: method, version: .http11, path: path, query: query.map { .init(name: $0.0, value: $0.1) },
            headers: [.host: "xenprd"], body: Data(body.utf8))
        var answer: HTTPResponse?
        while answer == nil {
            // Only the connection has a time limit, one of 5 s: on a busy machine it is tried again, and nothing is sent twice.
            do { answer = try await client.sendHTTPRequest(request, to: .unix(path: socket)) } catch SocketError.timeout {}
        }
        let response = try #require(answer)
        let json = try JSONSerialization.jsonObject(with: try await response.bodyData) as? [String: Any]
        return Answer(status: response.statusCode.code, json: json ?? [:])
    }
}
