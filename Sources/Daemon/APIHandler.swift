import DaemonAPI
import FlyingFox
import Foundation
import Logging
import Recovery

/// The daemon's HTTP interface. Every answer is JSON with a schema; every refusal says what to do next.
///
///     GET    /v1/guests                 xenpr.guests/1
///     GET    /v1/guests/NAME            xenpr.guest/1
///     PUT    /v1/guests/NAME            protect; answers when armed or refused
///     DELETE /v1/guests/NAME            unprotect; 202 when main is being recovered and must come back first
///     GET    /v1/recoveries[?guest=&limit=]  xenpr.recoveries/1, newest first
///     GET    /v1/recoveries/ID          xenpr.recovery-record/1
///     GET    /v1/doctor[?guest=]        xenpr.doctor/1
///     GET    /v1/events                 xenpr.event/1, one JSON document a line, until the client leaves
public struct APIHandler<Host: DaemonHost>: HTTPHandler {
    let registry: GuestRegistry<Host>
    let defaultVolume: String?
    let logger: Logger
    /// Bytes that a request's body may have.
    static var bodyLimit: Int { 64 * 1024 }

    public init(registry: GuestRegistry<Host>, defaultVolume: String?, logger: Logger) {
        self.registry = registry
        self.defaultVolume = defaultVolume
        self.logger = logger
    }

    public func handleRequest(_ request: HTTPRequest) async throws -> HTTPResponse {
        do {
            return try await answer(request)
        } catch let refusal as Refusal {
            return try response(refusal.status, refusal.document)
        } catch {
            logger.error("request failed", metadata: ["path": "\(request.path)", "reason": "\(error)"])
            let refusal = Refusal(500, "internal", "\(error)", nextStep: "journalctl -u xenprd")
            return try response(refusal.status, refusal.document)
        }
    }

    private func answer(_ request: HTTPRequest) async throws -> HTTPResponse {
        let parts = request.path.split(separator: "/", omittingEmptySubsequences: true).map(String.init)
        guard parts.first == "v1", parts.count == 2 || parts.count == 3 else {
            throw Refusal(404, "no_such_path", "there is nothing at \(request.path)", nextStep: "GET /v1/guests")
        }
        let item = parts.count == 3 ? parts[2] : nil
        switch (parts[1], item, request.method) {
        case ("guests", nil, .GET):
            let guests = await registry.records().map(GuestDocument.init)
            return try response(200, Schema("xenpr.guests/1", GuestsDocument(guests: guests)))
        case ("guests", let name?, .GET):
            return try guestResponse(200, try await registry.record(try valid(name)))
        case ("guests", let name?, .PUT):
            return try await protect(try valid(name), request)
        case ("guests", let name?, .DELETE):
            let record = try await registry.unprotect(try valid(name))
            return try guestResponse(record.state == .unprotected ? 200 : 202, record)
        case ("recoveries", nil, .GET):
            return try await recoveries(request)
        case ("recoveries", let id?, .GET):
            guard let recovery = try await registry.journal.recovery(id) else {
                throw Refusal(404, "no_such_recovery", "there is no recovery \(id)", nextStep: "xenpr history")
            }
            let transitions = try await registry.journal.transitions(of: id)
            let document = RecoveryDocument(recovery: recovery, transitions: transitions)
            return try response(200, Schema("xenpr.recovery-record/1", document))
        case ("doctor", nil, .GET):
            return try response(200, Schema("xenpr.doctor/1", DoctorDocument(checks: await checks(request))))
        case ("events", nil, .GET):
            return HTTPResponse(
                statusCode: .ok, headers: [.contentType: "application/x-ndjson"],
                body: HTTPBodySequence(from: EventLines(events: await registry.hub.follow())))
        case ("guests", _, _), ("recoveries", _, _), ("doctor", nil, _), ("events", nil, _):
            throw Refusal(405, "method_not_allowed", "\(request.method.rawValue) is not possible on \(request.path)")
        default:
            throw Refusal(404, "no_such_path", "there is nothing at \(request.path)", nextStep: "GET /v1/guests")
        }
    }

    // MARK: Requests

    private func protect(_ guest: String, _ request: HTTPRequest) async throws -> HTTPResponse {
        let wish = try await body(ProtectRequest.self, keys: ProtectRequest.keys, of: request)
        guard let volume = wish.volume ?? defaultVolume else {
            throw Refusal(
                422, "volume_missing", "no recovery volume was given for \(guest)",
                nextStep: "xenpr protect \(guest) --volume BLOCKDEV")
        }
        let config = wish.config ?? "/etc/xen/\(guest).cfg"
        for path in [volume, config] where !Self.isPlainPath(path) {
            throw Refusal(
                422, "path_invalid", "\(path) is not an absolute path of letters, digits and ._+-/:",
                nextStep: "give an absolute path without spaces or quotes")
        }
        let settings = ProtectionSettings(config: config, volume: volume, salvage: wish.salvage ?? .minor)
        return try guestResponse(200, try await registry.protect(guest, settings, format: wish.format ?? false))
    }

    private func recoveries(_ request: HTTPRequest) async throws -> HTTPResponse {
        let guest = try request.query["guest"].map(valid)
        var limit = 50
        if let text = request.query["limit"] {
            guard let number = Int(text), (1...1000).contains(number) else {
                throw Refusal(400, "limit_invalid", "limit must be a number from 1 to 1000, not \(text)")
            }
            limit = number
        }
        let found = try await registry.journal.recoveries(of: guest, limit: limit)
        return try response(200, Schema("xenpr.recoveries/1", RecoveriesDocument(recoveries: found)))
    }

    private func checks(_ request: HTTPRequest) async throws -> [Check] {
        let only = try request.query["guest"].map(valid)
        var checks = await registry.host.hostChecks()
        for record in await registry.records() where only == nil || record.guest == only {
            checks += await registry.host.guestChecks(record)
            checks.append(try await agentCheck(record.guest))
        }
        if let only, await registry.records().allSatisfy({ $0.guest != only }) {
            throw Refusal.notProtected(only)
        }
        return checks
    }

    /// What is known of the agent and of CRIU in main: only a recovery shows it.
    private func agentCheck(_ guest: String) async throws -> Check {
        let name = "guest \(guest): agent and CRIU"
        let recoveries = try await registry.journal.recoveries(of: guest, limit: 20)
        guard let last = recoveries.first(where: { $0.withVolume && $0.finishedAt != nil }) else {
            return Check(name, .ok, "not tried yet; in the guest: systemctl is-enabled xenpr-agent; criu check")
        }
        if last.groups.contains(where: { $0.outcome == "restored" }) { return Check(name, .ok, "restored in \(last.id)") }
        if last.groups.isEmpty {
            return Check(
                name, .warning, "no report in \(last.id)",
                fix: "in the guest: systemctl enable xenpr-agent, and look at its log")
        }
        return Check(name, .warning, "nothing restored in \(last.id)", fix: "xenpr show \(last.id); in the guest: criu check")
    }

    private func valid(_ name: String) throws(Refusal) -> String {
        guard GuestName.isValid(name) else {
            throw Refusal(
                400, "name_invalid", "a guest's name is 1 to 64 letters, digits and ._+-, beginning with a letter or digit")
        }
        return name
    }

    /// Paths go into configurations of Xen, whose quoting has no escapes.
    private static func isPlainPath(_ path: String) -> Bool {
        path.hasPrefix("/") && path.utf8.count <= 512
            && path.utf8.allSatisfy { byte in
                switch byte {
                case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
                    UInt8(ascii: "0")...UInt8(ascii: "9"):
                    true
                default: "._+-/:".utf8.contains(byte)
                }
            }
    }

    /// Reads a body of limited size and refuses keys that it should not have.
    private func body<Value: Decodable>(_ type: Value.Type, keys: Set<String>, of request: HTTPRequest) async throws -> Value {
        var data = Data()
        for try await chunk in request.bodySequence {
            data.append(chunk)
            guard data.count <= Self.bodyLimit else {
                throw Refusal(413, "body_too_large", "the body is larger than \(Self.bodyLimit) bytes")
            }
        }
        if data.isEmpty { data = Data("{}".utf8) }
        guard let object = try? JSONSerialization.jsonObject(with: data) as? [String: Any] else {
            throw Refusal(400, "body_invalid", "the body is not a JSON object")
        }
        if let unknown = object.keys.sorted().first(where: { !keys.contains($0) }) {
            throw Refusal(
                400, "body_invalid", "the body has an unknown key: \(unknown)",
                nextStep: "known are: \(keys.sorted().joined(separator: ", "))")
        }
        do {
            return try WireCoding.decode(type, from: data)
        } catch let DecodingError.typeMismatch(_, context), let DecodingError.dataCorrupted(context),
            let DecodingError.valueNotFound(_, context), let DecodingError.keyNotFound(_, context)
        {
            let key = context.codingPath.map(\.stringValue).joined(separator: ".")
            throw Refusal(400, "body_invalid", "the body's \(key) cannot be understood: \(context.debugDescription)")
        }
    }

    // MARK: Answers

    private func guestResponse(_ status: Int, _ record: ProtectionRecord) throws -> HTTPResponse {
        try response(status, Schema("xenpr.guest/1", GuestDocument(record)))
    }

    private func response(_ status: Int, _ value: some Encodable) throws -> HTTPResponse {
        HTTPResponse(
            statusCode: HTTPStatusCode(status, phrase: Self.phrases[status] ?? "Status"),
            headers: [.contentType: "application/json"], body: try WireCoding.encode(value) + Data("\n".utf8))
    }

    private static var phrases: [Int: String] {
        [
            200: "OK", 202: "Accepted", 400: "Bad Request", 404: "Not Found", 405: "Method Not Allowed", 409: "Conflict",
            413: "Content Too Large", 422: "Unprocessable Content", 500: "Internal Server Error",
            503: "Service Unavailable",
        ]
    }
}
