/// The values of an xl domain configuration (xl.cfg(5)) that are plain strings or numbers.
///
/// Mirrors the grammar of tools/libs/util/libxlu_cfg_y.y: assignments `NAME = VALUE` ended by a newline or `;`, strings in
/// single or double quotes with backslash escapes, numbers, lists in brackets over any number of lines, comments from `#`
/// to the end of the line. Lists are skipped. What cannot be understood ends nothing but its own assignment.
public struct XLConfiguration: Sendable, Equatable {
    public private(set) var values: [String: String] = [:]

    public init(_ text: String) {
        var scanner = Scanner(bytes: Array(text.utf8))
        while let (name, value) = scanner.nextAssignment() {
            if let value { values[name] = value }
        }
    }

    public subscript(name: String) -> String? { values[name] }
}

private struct Scanner {
    let bytes: [UInt8]
    var position = 0

    init(bytes: [UInt8]) {
        self.bytes = bytes
    }

    private var current: UInt8? { position < bytes.count ? bytes[position] : nil }

    /// The next assignment; its value is nil when it is a list. Nil at the end.
    mutating func nextAssignment() -> (String, String?)? {
        while current != nil {
            skipBlank(newlines: true)
            let name = word()
            skipBlank(newlines: false)
            if !name.isEmpty, current == UInt8(ascii: "+") { position += 1 }
            guard !name.isEmpty, current == UInt8(ascii: "=") else {
                skipStatement()
                continue
            }
            position += 1
            skipBlank(newlines: false)
            let value = self.value()
            skipStatement()
            return (name, value)
        }
        return nil
    }

    private mutating func value() -> String? {
        switch current {
        case UInt8(ascii: "'"), UInt8(ascii: "\""): return quoted()
        case UInt8(ascii: "["): return nil
        default: return word()
        }
    }

    private mutating func quoted() -> String? {
        guard let quote = current else { return nil }
        position += 1
        var content: [UInt8] = []
        while let byte = current, byte != UInt8(ascii: "\n") {
            position += 1
            if byte == quote { return String(decoding: content, as: UTF8.self) }
            if byte == UInt8(ascii: "\\"), let escaped = current {
                position += 1
                content.append(escaped)
            } else {
                content.append(byte)
            }
        }
        return nil
    }

    private mutating func word() -> String {
        let start = position
        while let byte = current, Self.isWord(byte) { position += 1 }
        return String(decoding: bytes[start..<position], as: UTF8.self)
    }

    private static func isWord(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
            UInt8(ascii: "0")...UInt8(ascii: "9"),
            UInt8(ascii: "_"), UInt8(ascii: "."), UInt8(ascii: "-"):
            true
        default: false
        }
    }

    private mutating func skipBlank(newlines: Bool) {
        while let byte = current {
            switch byte {
            case UInt8(ascii: " "), UInt8(ascii: "\t"), UInt8(ascii: "\r"): position += 1
            case UInt8(ascii: "\n"), UInt8(ascii: ";"):
                if !newlines { return }
                position += 1
            case UInt8(ascii: "#"):
                while let byte = current, byte != UInt8(ascii: "\n") { position += 1 }
            default: return
            }
        }
    }

    /// To the end of the statement, over lists with all that is in them.
    private mutating func skipStatement() {
        var depth = 0
        while let byte = current {
            switch byte {
            case UInt8(ascii: "["): depth += 1
            case UInt8(ascii: "]"): depth -= 1
            case UInt8(ascii: "'"), UInt8(ascii: "\""):
                _ = quoted()
                continue
            case UInt8(ascii: "#"):
                while let byte = current, byte != UInt8(ascii: "\n") { position += 1 }
                continue
            case UInt8(ascii: "\n"), UInt8(ascii: ";"):
                if depth <= 0 { return }
            default: break
            }
            position += 1
        }
    }
}
