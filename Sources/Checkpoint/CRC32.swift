/// The CRC-32 of zlib, gzip and Ethernet; it also tells contents apart without showing them.
package struct CRC32 {
    private static let table: [UInt32] = (0..<256).map { byte in
        (0..<8).reduce(UInt32(byte)) { value, _ in value & 1 == 1 ? 0xedb8_8320 ^ (value >> 1) : value >> 1 }
    }

    private var register: UInt32 = ~0

    package init() {}

    /// Of all that was added.
    package var value: UInt32 { ~register }

    package mutating func add(_ bytes: some Sequence<UInt8>) {
        register = bytes.reduce(register) { value, byte in Self.table[Int((value ^ UInt32(byte)) & 0xff)] ^ (value >> 8) }
    }

    package static func of(_ bytes: some Sequence<UInt8>) -> UInt32 {
        var sum = CRC32()
        sum.add(bytes)
        return sum.value
    }
}
