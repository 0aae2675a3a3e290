import Foundation

/// What xenprd knows of recoveries, asked over its API with curl: the command xenpr takes a second to start in emulation.
enum XenRecoveries {
    /// A recovery as `GET /v1/recoveries` lists it.
    struct Recovery: Sendable {
        var id: String
        var outcome: String
        /// Unix seconds.
        var crashedAt: Double
        var salvagedBy: String?
        var reasons: [String]
        var kept: String?
        var timeline: [Entry]
        /// The whole record as JSON.
        var text: String
    }

    struct Entry: Sendable, Decodable {
        var phase: String
        /// Unix seconds.
        var start: Double
        var seconds: Double
        var bytes: Int?
        var pages: Int?
    }

    private struct Fields: Decodable {
        var id: String
        var outcome: String
        var crashedAt: Double
        var salvagedBy: String?
        var reasons: [String]?
        var kept: String?
        var timeline: [Entry]?
    }

    /// All recoveries of main, newest first.
    static func all(in control: any Shell) async throws -> [Recovery] {
        let text = try await get("/v1/recoveries?guest=main", in: control)
        guard let document = try JSONSerialization.jsonObject(with: Data(text.utf8)) as? [String: Any],
            let entries = document["recoveries"] as? [Any]
        else { throw LabFailure("cannot understand xenprd's list of recoveries: \(text.prefix(200))") }
        let decoder = JSONDecoder()
        decoder.keyDecodingStrategy = .convertFromSnakeCase
        return try entries.map { entry in
            let data = try JSONSerialization.data(withJSONObject: entry)
            let fields = try decoder.decode(Fields.self, from: data)
            return Recovery(
                id: fields.id, outcome: fields.outcome, crashedAt: fields.crashedAt, salvagedBy: fields.salvagedBy,
                reasons: fields.reasons ?? [], kept: fields.kept, timeline: fields.timeline ?? [],
                text: String(decoding: data, as: UTF8.self))
        }
    }

    /// The state of main's protection, with its detail; nil when main is not protected.
    static func state(in control: any Shell) async throws -> String? {
        struct Guest: Decodable {
            var state: String?
            var detail: String?
        }
        let text = try await get("/v1/guests/main", in: control)
        let guest = try JSONDecoder().decode(Guest.self, from: Data(text.utf8))
        guard let state = guest.state else { return nil }
        return state + (guest.detail.map { ": \($0)" } ?? "")
    }

    private static func get(_ path: String, in control: any Shell) async throws -> String {
        try await control.require("curl -sS --max-time 20 --unix-socket /run/xenpr/xenprd.sock 'http://xenprd\(path)'")
    }
}
