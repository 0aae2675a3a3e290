import Checkpoint

/// Fields of an object by their path in the message: `thread_core.creds.uid`, `tc.sigactions[2].mask`.
typealias FlatFields = [String: String]

extension MessageSchema {
    /// Messages in messages; those of the schemas are less deep.
    private static let depthLimit = 16

    /// Every field of a message, also of numbers that the schema does not know.
    func flatten(_ message: ProtobufFields, prefix: String = "") throws(ImageDiffError) -> FlatFields {
        var result: FlatFields = [:]
        try flatten(message, prefix, depth: 0, into: &result)
        return result
    }

    private func flatten(_ message: ProtobufFields, _ prefix: String, depth: Int, into result: inout FlatFields)
        throws(ImageDiffError)
    {
        guard depth < Self.depthLimit else { throw ImageDiffError("\(prefix): messages nested too deep") }
        var counts: [UInt32: Int] = [:]
        for (number, value) in message.fields {
            let index = counts[number, default: 0]
            counts[number] = index + 1
            let field = self[number]
            var path = prefix + (field?.name ?? "field \(number)")
            if field?.isRepeated ?? true { path += "[\(index)]" }
            switch (field?.kind, value) {
            case (.message(let schema), .data(let bytes)):
                let nested: ProtobufFields
                do { nested = try ProtobufFields(parsing: bytes) } catch { throw ImageDiffError("\(path): \(error)") }
                try schema.flatten(nested, path + ".", depth: depth + 1, into: &result)
            default: result[path] = Self.text(value, field?.kind)
            }
        }
    }

    private static func text(_ value: ProtobufFields.Value, _ kind: Field.Kind?) -> String {
        switch (value, kind) {
        case (.number(let number), .signed): "\(Int64(bitPattern: number))"
        case (.number(let number), .zigzag): "\(Int64(bitPattern: (number >> 1) ^ (0 &- (number & 1))))"
        case (.number(let number), .hex): "0x" + String(number, radix: 16)
        case (.number(let number), .octal): "0" + String(number, radix: 8)
        case (.number(let number), _): "\(number)"
        case (.data(let bytes), .text): visible(bytes)
        case (.data(let bytes), _): hexadecimal(bytes)
        }
    }

    /// Bytes that are most likely a name.
    static func visible(_ bytes: [UInt8]) -> String {
        bytes.map { (0x20..<0x7f).contains($0) ? String(UnicodeScalar($0)) : "\\x" + hexadecimal([$0]) }.joined()
    }

    static func hexadecimal(_ bytes: [UInt8]) -> String {
        bytes.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined()
    }
}
