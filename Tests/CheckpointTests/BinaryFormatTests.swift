import ProcessModel
import Testing

@Suite struct BinaryFormatTests {
    private func text(_ recognition: BinaryFormat.Recognition, interpreter: KernelString = "/bin/i", flags: String = "")
        -> String?
    {
        BinaryFormat(name: "n", recognition: recognition, interpreter: interpreter, flags: flags).registration.map {
            String(decoding: $0, as: UTF8.self)
        }
    }

    @Test func registrationsAreWhatTheKernelTakes() {
        #expect(text(.fileExtension(Array("wasm".utf8))) == ":n:E::wasm::/bin/i:")
        #expect(
            text(.magic([0, 0x7f, 0x3a], mask: [0xff], offset: 4), flags: "PO") == ":n:M:4:\\x00\\x7f\\x3a:\\xff:/bin/i:PO")
        #expect(text(.magic([1], mask: [], offset: 0)) == ":n:M:0:\\x01::/bin/i:")
    }

    @Test func theDelimiterIsInNoneOfThem() {
        #expect(text(.fileExtension(Array("a:b".utf8)), interpreter: "/i|") == ";n;E;;a:b;;/i|;")
        #expect(text(.fileExtension(Array(":|;,~!^+=".utf8))) == nil)
    }

    @Test func whatIsTooLongOrHasAZeroIsNone() {
        #expect(text(.magic(Array(repeating: 1, count: 256), mask: Array(repeating: 1, count: 256), offset: 0)) == nil)
        #expect(text(.fileExtension([0x61, 0])) == nil)
    }
}
