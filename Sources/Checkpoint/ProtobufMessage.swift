/// Writes one protocol buffers message (proto2 wire format), field by field. Small, because swift-protobuf would double the static programs.
struct ProtobufMessage: Sendable {
    private(set) var bytes: [UInt8] = []

    init() {}

    init(_ build: (inout ProtobufMessage) -> Void) {
        build(&self)
    }

    private mutating func appendVarint(_ value: UInt64) {
        var rest = value
        while rest >= 0x80 {
            bytes.append(UInt8(truncatingIfNeeded: rest) | 0x80)
            rest >>= 7
        }
        bytes.append(UInt8(truncatingIfNeeded: rest))
    }

    private mutating func appendKey(_ field: UInt32, _ type: ProtobufWireType) {
        appendVarint(UInt64(field) << 3 | UInt64(type.rawValue))
    }

    /// uint32, uint64, bool as 0 or 1, and enums.
    mutating func unsigned(_ field: UInt32, _ value: some UnsignedInteger & FixedWidthInteger) {
        appendKey(field, .varint)
        appendVarint(UInt64(truncatingIfNeeded: value))
    }

    /// int32 and int64: a negative value takes ten bytes.
    mutating func signed(_ field: UInt32, _ value: some SignedInteger & FixedWidthInteger) {
        appendKey(field, .varint)
        appendVarint(UInt64(bitPattern: Int64(truncatingIfNeeded: value)))
    }

    /// sint32 and sint64 (zigzag).
    mutating func zigzag(_ field: UInt32, _ value: some SignedInteger & FixedWidthInteger) {
        let wide = Int64(truncatingIfNeeded: value)
        appendKey(field, .varint)
        appendVarint(UInt64(bitPattern: (wide << 1) ^ (wide >> 63)))
    }

    mutating func flag(_ field: UInt32, _ value: Bool) {
        unsigned(field, UInt64(value ? 1 : 0))
    }

    mutating func fixed64(_ field: UInt32, _ value: UInt64) {
        appendKey(field, .fixed64)
        bytes.append(contentsOf: value.littleEndianBytes)
    }

    mutating func string(_ field: UInt32, _ value: String) {
        data(field, Array(value.utf8))
    }

    /// bytes, and strings that need not be UTF-8.
    mutating func data(_ field: UInt32, _ value: [UInt8]) {
        appendKey(field, .lengthDelimited)
        appendVarint(UInt64(value.count))
        bytes.append(contentsOf: value)
    }

    mutating func message(_ field: UInt32, _ value: ProtobufMessage) {
        data(field, value.bytes)
    }

    mutating func message(_ field: UInt32, _ build: (inout ProtobufMessage) -> Void) {
        message(field, ProtobufMessage(build))
    }

    /// A repeated number, one key for each (proto2 does not pack them).
    mutating func repeated(_ field: UInt32, _ values: some Sequence<some UnsignedInteger & FixedWidthInteger>) {
        for value in values { unsigned(field, value) }
    }
}

/// How a field's value is coded.
enum ProtobufWireType: UInt8, Sendable {
    case varint = 0
    case fixed64 = 1
    case lengthDelimited = 2
    case fixed32 = 5
}
