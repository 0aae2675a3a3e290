import Testing

@testable import Checkpoint

@Suite struct ProtobufTests {
    private let sample = ProtobufMessage { message in
        message.unsigned(1, UInt64.max)
        message.unsigned(2, UInt32(300))
        message.signed(3, Int32(-1))
        message.zigzag(4, Int64(-1))
        message.string(5, "text")
        message.message(6) { $0.repeated(1, [UInt32(1), 2, 3]) }
        message.flag(7, true)
    }

    @Test func knownBytes() {
        #expect(ProtobufMessage { $0.unsigned(1, UInt32(150)) }.bytes == [0x08, 0x96, 0x01])
        #expect(ProtobufMessage { $0.string(2, "testing") }.bytes == [0x12, 0x07, 0x74, 0x65, 0x73, 0x74, 0x69, 0x6e, 0x67])
        #expect(ProtobufMessage { $0.zigzag(1, Int32(-2)) }.bytes == [0x08, 0x03])
    }

    @Test func roundTrip() throws {
        let fields = try ProtobufFields(parsing: sample.bytes)
        #expect(fields.number(1) == .max && fields.number(2) == 300 && fields.number(3) == .max && fields.number(4) == 1)
        #expect(fields.data(5) == Array("text".utf8))
        #expect(try fields.message(6)?.numbers(1) == [1, 2, 3])
    }

    @Test func everyTruncationEndsWell() {
        for length in 0..<sample.bytes.count { _ = try? ProtobufFields(parsing: Array(sample.bytes[..<length])) }
        #expect(throws: ProtobufError.self) { try ProtobufFields(parsing: Array(sample.bytes.dropLast())) }
    }

    @Test(arguments: [
        [UInt8(0x00)], [0x08], [0x0b, 0x01], [0x12, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01],
        [0x08, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02], [0x09, 1, 2, 3], [0x0d, 1],
    ])
    func damagedBytesAreRefused(bytes: [UInt8]) {
        #expect(throws: ProtobufError.self) { try ProtobufFields(parsing: bytes) }
    }
}
