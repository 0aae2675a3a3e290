import Testing

@testable import PlainJSON

@Suite struct PlainJSONTests {
    static let accepted: [String] = [
        "null", "true", "false", "0", "-1", "9223372036854775807", "1.5", "-0.25", "1.5e300", #""""#, #""a\n\"\\\u0001é😀""#,
        "[]",
        "{}",
        #"[1,[2,[3,{}]],null]"#,
        #"{"schema":"xenpr.recovery/1","groups":[{"name":"counter","bytes":4096,"seconds":0.5}],"x":null}"#,
    ]

    @Test(arguments: accepted) func roundTrip(text: String) throws {
        let value = try JSONValue(parsing: text)
        #expect(try JSONValue(parsing: value.text()) == value)
        #expect(try JSONValue(parsing: value.text(.pretty)) == value)
    }

    /// A text cut anywhere is an error, never a value and never a trap. (A number is complete wherever it is cut, hence the brackets.)
    @Test(arguments: accepted) func everyTruncationIsAnError(text: String) {
        let bytes = Array("[\(text)]".utf8)
        for length in 0..<bytes.count {
            #expect(throws: JSONError.self) { try JSONValue(parsing: Array(bytes[..<length])) }
        }
    }

    @Test(arguments: [
        "", " ", "nul", "tru", "01", "-", "1.", ".5", "1e", "+1", "1e999", "[1,]", "[,1]", "[1 2]", #"{"a"}"#, #"{"a":1,}"#,
        "{a:1}",
        #"{"a":1,"a":2}"#, #""\x""#, #""\u12""#, #""\ud800""#, #""\ud800\u0041""#, #""\udc00""#, "\"\u{01}\"", "1 2", "[1]x",
        "NaN", "'a'",
    ])
    func refused(text: String) {
        #expect(throws: JSONError.self) { try JSONValue(parsing: text) }
    }

    @Test func invalidUTF8IsRefused() {
        #expect(throws: JSONError.self) { try JSONValue(parsing: [0x22, 0xff, 0x22]) }
        #expect(throws: JSONError.self) { try JSONValue(parsing: [0x22, 0xc3, 0x22]) }
    }

    @Test func escapes() throws {
        #expect(try JSONValue(parsing: #""\ud83d\ude00\/\b\f\r\t""#) == .string("😀/\u{08}\u{0c}\r\t"))
        #expect(JSONValue.string("a\u{01}\"\\\u{7f}").text() == #""a\u0001\"\\\u007f""#)
    }

    @Test func depthIsBounded() throws {
        let deep = String(repeating: "[", count: 100_000)
        #expect(throws: JSONError.self) { try JSONValue(parsing: deep) }
        let allowed = String(repeating: "[", count: 60) + String(repeating: "]", count: 60)
        #expect(throws: Never.self) { try JSONValue(parsing: allowed) }
    }

    @Test func sizeIsBounded() {
        #expect(throws: JSONError.self) { try JSONValue(parsing: "[1,2,3]", limits: JSONLimits(bytes: 4)) }
    }

    @Test func seededMutationsNeverTrap() {
        var generator = SplitMix(state: 7)
        let original = Array(Self.accepted.joined(separator: ",").utf8)
        for _ in 0..<2000 {
            var bytes = [0x5b] + original + [0x5d]
            for _ in 0..<3 {
                bytes[Int.random(in: 0..<bytes.count, using: &generator)] = UInt8.random(in: 0...255, using: &generator)
            }
            _ = try? JSONValue(parsing: bytes)
        }
    }

    @Test func numbers() throws {
        #expect(JSONValue(0.5).text() == "0.5")
        #expect(JSONValue(3.0).text() == "3")
        #expect(JSONValue(Double.infinity).text() == "null")
        #expect(try JSONValue(parsing: "1.0").integerValue == 1)
        #expect(try JSONValue(parsing: "1.5").integerValue == nil)
        #expect(try JSONValue(parsing: "18446744073709551615").numberValue == 0x1p64)
    }

    @Test func prettyForm() {
        let value: JSONValue = ["a": 1, "b": [true, nil], "c": [], "d": [:]]
        #expect(value.text(.pretty) == "{\n  \"a\": 1,\n  \"b\": [\n    true,\n    null\n  ],\n  \"c\": [],\n  \"d\": {}\n}\n")
    }
}

/// A small generator with a seed, so that a failure can be repeated.
struct SplitMix: RandomNumberGenerator {
    var state: UInt64

    mutating func next() -> UInt64 {
        state &+= 0x9e37_79b9_7f4a_7c15
        var mixed = state
        mixed = (mixed ^ (mixed >> 30)) &* 0xbf58_476d_1ce4_e5b9
        mixed = (mixed ^ (mixed >> 27)) &* 0x94d0_49bb_1331_11eb
        return mixed ^ (mixed >> 31)
    }
}
