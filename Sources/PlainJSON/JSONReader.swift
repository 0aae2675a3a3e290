/// Why a text is no acceptable JSON.
public struct JSONError: Error, Sendable, Equatable, CustomStringConvertible {
    /// Offset in bytes of the place where reading stopped.
    public var offset: Int
    public var problem: String

    public var description: String { "damaged JSON at byte \(offset): \(problem)" }
}

/// What a reader accepts of an untrusted text.
public struct JSONLimits: Sendable {
    public var bytes: Int
    /// Nested arrays and objects.
    public var depth: Int

    public init(bytes: Int = 16 << 20, depth: Int = 64) {
        self.bytes = bytes
        self.depth = depth
    }
}

extension JSONValue {
    /// Reads one JSON text. Strict: UTF-8, nothing before or after but white space, no duplicate names in an object.
    public init(parsing bytes: [UInt8], limits: JSONLimits = JSONLimits()) throws(JSONError) {
        guard bytes.count <= limits.bytes else {
            throw JSONError(offset: limits.bytes, problem: "text of \(bytes.count) bytes, \(limits.bytes) are accepted")
        }
        var reader = JSONReader(bytes: bytes, depthLimit: limits.depth)
        self = try reader.document()
    }

    public init(parsing text: String, limits: JSONLimits = JSONLimits()) throws(JSONError) {
        self = try JSONValue(parsing: Array(text.utf8), limits: limits)
    }
}

/// A recursive descent over the bytes, with its depth bounded.
struct JSONReader {
    let bytes: [UInt8]
    let depthLimit: Int
    private var position = 0

    init(bytes: [UInt8], depthLimit: Int) {
        self.bytes = bytes
        self.depthLimit = depthLimit
    }

    mutating func document() throws(JSONError) -> JSONValue {
        let value = try value(depth: 0)
        skipSpace()
        guard position == bytes.count else { throw error("text after the value") }
        return value
    }

    private func error(_ problem: String) -> JSONError { JSONError(offset: position, problem: problem) }

    private var next: UInt8? { position < bytes.count ? bytes[position] : nil }

    private mutating func skipSpace() {
        while let byte = next, byte == 0x20 || byte == 0x0a || byte == 0x0d || byte == 0x09 { position += 1 }
    }

    private mutating func expect(_ word: StaticString, giving value: JSONValue) throws(JSONError) -> JSONValue {
        for expected in word.description.utf8 {
            guard next == expected else { throw error("not \(word)") }
            position += 1
        }
        return value
    }

    private mutating func value(depth: Int) throws(JSONError) -> JSONValue {
        guard depth <= depthLimit else { throw error("more than \(depthLimit) levels") }
        skipSpace()
        switch next {
        case nil: throw error("end of text where a value is expected")
        case 0x6e: return try expect("null", giving: .null)
        case 0x74: return try expect("true", giving: .bool(true))
        case 0x66: return try expect("false", giving: .bool(false))
        case 0x22: return .string(try string())
        case 0x5b: return try array(depth: depth)
        case 0x7b: return try object(depth: depth)
        default: return try number()
        }
    }

    private mutating func array(depth: Int) throws(JSONError) -> JSONValue {
        position += 1
        var elements: [JSONValue] = []
        skipSpace()
        if next == 0x5d {
            position += 1
            return .array([])
        }
        while true {
            elements.append(try value(depth: depth + 1))
            skipSpace()
            guard let separator = next else { throw error("end of text in an array") }
            position += 1
            if separator == 0x5d { return .array(elements) }
            guard separator == 0x2c else { throw error("neither , nor ] after an element") }
        }
    }

    private mutating func object(depth: Int) throws(JSONError) -> JSONValue {
        position += 1
        var members: [JSONValue.Member] = []
        var names: Set<String> = []
        skipSpace()
        if next == 0x7d {
            position += 1
            return .object([])
        }
        while true {
            skipSpace()
            guard next == 0x22 else { throw error("no name where a member is expected") }
            let name = try string()
            guard names.insert(name).inserted else { throw error("two members of the same name") }
            skipSpace()
            guard next == 0x3a else { throw error("no : after a name") }
            position += 1
            members.append(JSONValue.Member(name, try value(depth: depth + 1)))
            skipSpace()
            guard let separator = next else { throw error("end of text in an object") }
            position += 1
            if separator == 0x7d { return .object(members) }
            guard separator == 0x2c else { throw error("neither , nor } after a member") }
        }
    }

    private mutating func digits() -> Int {
        let start = position
        while let byte = next, byte >= 0x30, byte <= 0x39 { position += 1 }
        return position - start
    }

    private mutating func number() throws(JSONError) -> JSONValue {
        let start = position
        if next == 0x2d { position += 1 }
        let leadsWithZero = next == 0x30
        let whole = digits()
        guard whole > 0 else { throw error("no value") }
        guard whole == 1 || !leadsWithZero else { throw error("number with a leading zero") }
        var isWhole = true
        if next == 0x2e {
            position += 1
            isWhole = false
            guard digits() > 0 else { throw error("number without digits after its point") }
        }
        if next == 0x65 || next == 0x45 {
            position += 1
            isWhole = false
            if next == 0x2b || next == 0x2d { position += 1 }
            guard digits() > 0 else { throw error("number without digits in its exponent") }
        }
        let text = String(decoding: bytes[start..<position], as: UTF8.self)
        if isWhole, let value = Int64(text) { return .integer(value) }
        guard let real = Double(text), real.isFinite else { throw error("number out of range") }
        return .number(real)
    }

    private mutating func string() throws(JSONError) -> String {
        position += 1
        var content: [UInt8] = []
        while true {
            guard let byte = next else { throw error("end of text in a string") }
            position += 1
            switch byte {
            case 0x22:
                guard let text = String(validating: content, as: UTF8.self) else { throw error("string is not UTF-8") }
                return text
            case 0x5c: try escape(into: &content)
            case 0..<0x20: throw error("control character in a string")
            default: content.append(byte)
            }
        }
    }

    private mutating func escape(into content: inout [UInt8]) throws(JSONError) {
        guard let byte = next else { throw error("end of text in a string") }
        position += 1
        switch byte {
        case 0x22, 0x5c, 0x2f: content.append(byte)
        case 0x62: content.append(0x08)
        case 0x66: content.append(0x0c)
        case 0x6e: content.append(0x0a)
        case 0x72: content.append(0x0d)
        case 0x74: content.append(0x09)
        case 0x75: try unicodeEscape(into: &content)
        default: throw error("unknown escape")
        }
    }

    private mutating func unicodeEscape(into content: inout [UInt8]) throws(JSONError) {
        var code = try hexadecimal()
        if code >= 0xd800, code < 0xdc00 {
            guard next == 0x5c else { throw error("lone surrogate") }
            position += 1
            guard next == 0x75 else { throw error("lone surrogate") }
            position += 1
            let low = try hexadecimal()
            guard low >= 0xdc00, low < 0xe000 else { throw error("lone surrogate") }
            code = 0x10000 + (code - 0xd800) << 10 + (low - 0xdc00)
        }
        guard let scalar = Unicode.Scalar(code) else { throw error("lone surrogate") }
        content.append(contentsOf: String(scalar).utf8)
    }

    private mutating func hexadecimal() throws(JSONError) -> UInt32 {
        var value: UInt32 = 0
        for _ in 0..<4 {
            guard let byte = next, let digit = Character(Unicode.Scalar(byte)).hexDigitValue else {
                throw error("escape without four hexadecimal digits")
            }
            position += 1
            value = value << 4 | UInt32(digit)
        }
        return value
    }
}
