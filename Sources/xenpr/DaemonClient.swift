import ArgumentParser
import DaemonAPI
import FlyingFox
import FlyingSocks
import Foundation

/// The option that each command which talks to the daemon has.
struct DaemonOptions: ParsableArguments {
    @Option(help: ArgumentHelp("The daemon's socket.", valueName: "PATH"))
    var socket = "/run/xenpr/xenprd.sock"

    var client: DaemonClient { DaemonClient(socket: socket) }
}

/// Talks to xenprd: HTTP with JSON over a Unix socket.
struct DaemonClient {
    let socket: String

    /// Asks, and decodes the answer; a refusal becomes a failure with the daemon's own words.
    func get<Body: Codable & Sendable>(_ type: Body.Type, _ path: String, query: [(String, String)] = []) async throws
        -> Schema<Body>
    {
        try await send(.GET, path, query: query)
    }

    func put<Body: Codable & Sendable>(_ type: Body.Type, _ path: String, _ body: some Encodable) async throws -> Schema<Body> {
        try await send(.PUT, path, body: try WireCoding.encode(body))
    }

    func delete<Body: Codable & Sendable>(_ type: Body.Type, _ path: String) async throws -> Schema<Body> {
        try await send(.DELETE, path)
    }

    private func send<Body: Codable & Sendable>(
        _ method: HTTPMethod, _ path: String, query: [(String, String)] = [], body: Data = Data()
    ) async throws -> Schema<Body> {
        var client = HTTPClient()
        let response = try await request(&client, method, path, query: query, body: body)
        let data: Data
        do {
            data = try await response.bodyData
        } catch {
            throw CommandFailure("xenprd ended before it had answered: xenpr status, when it is back")
        }
        // The client closes the connection when it ends, which must not be before the whole answer is there.
        _ = consume client
        try check(response, data)
        do {
            return try WireCoding.decode(Schema<Body>.self, from: data)
        } catch {
            throw CommandFailure(
                "cannot understand xenprd's answer to \(method.rawValue) \(path): are xenpr and xenprd of one version?")
        }
    }

    private func request(
        _ client: inout HTTPClient, _ method: HTTPMethod, _ path: String, query: [(String, String)], body: Data
    ) async throws -> HTTPResponse {
        let request = HTTPRequest(
            method: method, version: .http11, path: path, query: query.map { .init(name: $0.0, value: $0.1) },
            headers: [.host: "xenprd", .contentType: "application/json"], body: body)
        do {
            return try await client.sendHTTPRequest(request, to: .unix(path: socket))
        } catch {
            throw CommandFailure.noDaemon(at: socket)
        }
    }

    private func check(_ response: HTTPResponse, _ data: Data) throws {
        guard response.statusCode.code >= 400 else { return }
        guard let refusal = try? WireCoding.decode(ErrorDocument.self, from: data).error else {
            throw CommandFailure("xenprd answered \(response.statusCode.code) without saying why")
        }
        let next = refusal.nextStep.map { "; next: \($0)" } ?? ""
        throw CommandFailure(
            refusal.message + next, code: refusal.code == "kernel_not_supported" ? .kernelNotSupported : .failure)
    }
}

extension CommandFailure {
    static func noDaemon(at socket: String) -> CommandFailure {
        CommandFailure("cannot reach xenprd at \(socket): is it running? try: systemctl start xenprd")
    }
}
