extension JSONValue {
    /// How the text looks.
    public enum Style: Sendable {
        /// On one line without spaces.
        case compact
        /// A member or element a line, two spaces for each level.
        case pretty
    }

    /// The value as JSON text; with `.pretty` it ends with a line feed.
    public func text(_ style: Style = .compact) -> String {
        String(decoding: bytes(style), as: UTF8.self)
    }

    /// The value as JSON text in UTF-8.
    public func bytes(_ style: Style = .compact) -> [UInt8] {
        var output: [UInt8] = []
        append(to: &output, style: style, level: 0)
        if style == .pretty { output.append(0x0a) }
        return output
    }

    private func append(to output: inout [UInt8], style: Style, level: Int) {
        switch self {
        case .null: output.append(contentsOf: "null".utf8)
        case .bool(let flag): output.append(contentsOf: (flag ? "true" : "false").utf8)
        case .integer(let whole): output.append(contentsOf: String(whole).utf8)
        case .number(let real):
            // JSON has no infinities and no NaN.
            output.append(contentsOf: (real.isFinite ? Self.text(of: real) : "null").utf8)
        case .string(let text): Self.append(text, to: &output)
        case .array(let elements):
            Self.appendList(elements, open: "[", close: "]", to: &output, style: style, level: level) { element, output in
                element.append(to: &output, style: style, level: level + 1)
            }
        case .object(let members):
            Self.appendList(members, open: "{", close: "}", to: &output, style: style, level: level) { member, output in
                Self.append(member.name, to: &output)
                output.append(contentsOf: (style == .pretty ? ": " : ":").utf8)
                member.value.append(to: &output, style: style, level: level + 1)
            }
        }
    }

    private static func text(of real: Double) -> String {
        if let whole = Int64(exactly: real), abs(whole) < 1 << 53 { return String(whole) }
        return real.description
    }

    private static func appendList<Item>(
        _ items: [Item], open: Unicode.Scalar, close: Unicode.Scalar, to output: inout [UInt8], style: Style, level: Int,
        _ appendItem: (Item, inout [UInt8]) -> Void
    ) {
        output.append(UInt8(truncatingIfNeeded: open.value))
        for (index, item) in items.enumerated() {
            if index > 0 { output.append(0x2c) }
            if style == .pretty { appendLine(level: level + 1, to: &output) }
            appendItem(item, &output)
        }
        if style == .pretty, !items.isEmpty { appendLine(level: level, to: &output) }
        output.append(UInt8(truncatingIfNeeded: close.value))
    }

    private static func appendLine(level: Int, to output: inout [UInt8]) {
        output.append(0x0a)
        output.append(contentsOf: repeatElement(0x20, count: 2 * level))
    }

    private static func append(_ text: String, to output: inout [UInt8]) {
        let digits = Array("0123456789abcdef".utf8)
        output.append(0x22)
        for byte in text.utf8 {
            switch byte {
            case 0x22: output.append(contentsOf: #"\""#.utf8)
            case 0x5c: output.append(contentsOf: #"\\"#.utf8)
            case 0x0a: output.append(contentsOf: #"\n"#.utf8)
            case 0x0d: output.append(contentsOf: #"\r"#.utf8)
            case 0x09: output.append(contentsOf: #"\t"#.utf8)
            case 0..<0x20, 0x7f:
                output.append(contentsOf: #"\u00"#.utf8)
                output.append(digits[Int(byte >> 4)])
                output.append(digits[Int(byte & 15)])
            default: output.append(byte)
            }
        }
        output.append(0x22)
    }
}
