/// Why bytes are no protocol buffers message.
package struct ProtobufError: Error, Sendable, Equatable, CustomStringConvertible {
    package var offset: Int
    package var problem: String

    package var description: String { "damaged message at byte \(offset): \(problem)" }
}

/// The fields of one message in the order in which they come, their numbers kept and their meaning left to the caller.
package struct ProtobufFields: Sendable, Equatable {
    package enum Value: Sendable, Equatable {
        /// Varint, fixed 64 or fixed 32.
        case number(UInt64)
        case data([UInt8])
    }

    package private(set) var fields: [(number: UInt32, value: Value)] = []

    package static func == (left: ProtobufFields, right: ProtobufFields) -> Bool {
        left.fields.elementsEqual(right.fields) { $0.number == $1.number && $0.value == $1.value }
    }

    /// Reads a whole message; never more than its bytes, whatever the lengths in it say.
    package init(parsing bytes: [UInt8]) throws(ProtobufError) {
        var position = 0
        while position < bytes.count {
            let key = try Self.varint(bytes, &position)
            guard let number = UInt32(exactly: key >> 3), number > 0, number < 1 << 29 else {
                throw ProtobufError(offset: position, problem: "field number out of range")
            }
            guard let type = ProtobufWireType(rawValue: UInt8(key & 7)) else {
                throw ProtobufError(offset: position, problem: "unknown wire type \(key & 7)")
            }
            switch type {
            case .varint: fields.append((number, .number(try Self.varint(bytes, &position))))
            case .fixed64: fields.append((number, .number(try Self.fixed(bytes, &position, size: 8))))
            case .fixed32: fields.append((number, .number(try Self.fixed(bytes, &position, size: 4))))
            case .lengthDelimited:
                let length = try Self.varint(bytes, &position)
                guard let count = Int(exactly: length), count <= bytes.count - position else {
                    throw ProtobufError(offset: position, problem: "field \(number) goes beyond the end")
                }
                fields.append((number, .data(Array(bytes[position..<position + count]))))
                position += count
            }
        }
    }

    private static func varint(_ bytes: [UInt8], _ position: inout Int) throws(ProtobufError) -> UInt64 {
        var value: UInt64 = 0
        for shift in stride(from: 0, to: 64, by: 7) {
            guard position < bytes.count else { throw ProtobufError(offset: position, problem: "end inside a number") }
            let byte = bytes[position]
            position += 1
            guard shift < 63 || byte <= 1 else { throw ProtobufError(offset: position, problem: "number beyond 64 bits") }
            value |= UInt64(byte & 0x7f) << UInt64(shift)
            if byte < 0x80 { return value }
        }
        throw ProtobufError(offset: position, problem: "number beyond 64 bits")
    }

    private static func fixed(_ bytes: [UInt8], _ position: inout Int, size: Int) throws(ProtobufError) -> UInt64 {
        guard bytes.count - position >= size else { throw ProtobufError(offset: position, problem: "end inside a number") }
        var value: UInt64 = 0
        for index in 0..<size { value |= UInt64(bytes[position + index]) << UInt64(8 * index) }
        position += size
        return value
    }

    /// The last number of a field, as proto2 has it for a field that came twice.
    package func number(_ field: UInt32) -> UInt64? {
        for entry in fields.reversed() where entry.number == field {
            if case .number(let value) = entry.value { return value }
        }
        return nil
    }

    package func data(_ field: UInt32) -> [UInt8]? {
        for entry in fields.reversed() where entry.number == field {
            if case .data(let value) = entry.value { return value }
        }
        return nil
    }

    package func numbers(_ field: UInt32) -> [UInt64] {
        fields.compactMap { entry in
            guard entry.number == field, case .number(let value) = entry.value else { return nil }
            return value
        }
    }

    package func message(_ field: UInt32) throws(ProtobufError) -> ProtobufFields? {
        guard let bytes = data(field) else { return nil }
        return try ProtobufFields(parsing: bytes)
    }

    package func messages(_ field: UInt32) throws(ProtobufError) -> [ProtobufFields] {
        var result: [ProtobufFields] = []
        for entry in fields where entry.number == field {
            if case .data(let bytes) = entry.value { result.append(try ProtobufFields(parsing: bytes)) }
        }
        return result
    }
}
