import Foundation

/// JSON as the API, the journal and the command's `--format json` write it: snake_case keys, times in seconds.
public enum WireCoding {
    public static func encode(_ value: some Encodable, pretty: Bool = false) throws -> Data {
        let encoder = JSONEncoder()
        encoder.keyEncodingStrategy = .convertToSnakeCase
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        if pretty { encoder.outputFormatting.insert(.prettyPrinted) }
        return try encoder.encode(value)
    }

    public static func decode<Value: Decodable>(_ type: Value.Type, from data: Data) throws -> Value {
        let decoder = JSONDecoder()
        decoder.keyDecodingStrategy = .convertFromSnakeCase
        return try decoder.decode(type, from: data)
    }
}

/// A document with its schema beside its own keys: `{"schema": "xenpr.guest/1", "guest": …}`.
public struct Schema<Body: Codable & Sendable>: Codable, Sendable {
    public var schema: String
    public var body: Body

    public init(_ schema: String, _ body: Body) {
        self.schema = schema
        self.body = body
    }

    private enum Key: String, CodingKey {
        case schema
    }

    public init(from decoder: any Decoder) throws {
        schema = try decoder.container(keyedBy: Key.self).decode(String.self, forKey: .schema)
        body = try Body(from: decoder)
    }

    public func encode(to encoder: any Encoder) throws {
        try body.encode(to: encoder)
        var container = encoder.container(keyedBy: Key.self)
        try container.encode(schema, forKey: .schema)
    }
}

/// Names that a guest may have: xenprd makes paths, domain names and xenstore nodes of them.
public enum GuestName {
    /// Whether `name` is 1 to 64 letters, digits, `.`, `_`, `+`, `-`, and begins with a letter or digit.
    public static func isValid(_ name: String) -> Bool {
        let bytes = Array(name.utf8)
        guard let first = bytes.first, bytes.count <= 64, isAlphanumeric(first) else { return false }
        return bytes.allSatisfy { isAlphanumeric($0) || "._+-".utf8.contains($0) }
    }

    private static func isAlphanumeric(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
            UInt8(ascii: "0")...UInt8(ascii: "9"):
            true
        default: false
        }
    }
}
