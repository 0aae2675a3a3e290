/// A netlink message being written (include/uapi/linux/netlink.h): numbers of its frame as the machine has them.
public struct NetlinkMessage: Sendable {
    public private(set) var bytes: [UInt8] = []

    /// - Parameters:
    ///   - header: what the protocol has between the message's own header and the attributes, a multiple of four bytes.
    public init(
        type: UInt16, flags: UInt16, sequence: UInt32, header: [UInt8], _ build: (inout NetlinkAttributes) -> Void = { _ in }
    ) {
        var attributes = NetlinkAttributes()
        build(&attributes)
        let length = UInt32(clamping: 16 + header.count + attributes.bytes.count)
        bytes = Self.native(length) + Self.native(type) + Self.native(flags) + Self.native(sequence) + Self.native(UInt32(0))
        bytes += header + attributes.bytes
    }

    public static func native(_ number: some FixedWidthInteger) -> [UInt8] {
        // The machines that this runs on are little-endian.
        (0..<number.bitWidth / 8).map { UInt8(truncatingIfNeeded: number >> (8 * $0)) }
    }
}

/// Attributes of a netlink message: length, type, value, and zeros up to a multiple of four bytes.
public struct NetlinkAttributes: Sendable {
    public private(set) var bytes: [UInt8] = []

    public init() {}

    /// What is longer than an attribute can be makes a message that the kernel refuses.
    public mutating func append(_ type: UInt16, _ value: [UInt8]) {
        bytes += NetlinkMessage.native(UInt16(clamping: 4 + value.count)) + NetlinkMessage.native(type) + value
        bytes += [UInt8](repeating: 0, count: (4 - value.count % 4) % 4)
    }

    public mutating func append(_ type: UInt16, text: String) { append(type, Array(text.utf8) + [0]) }

    /// A number in network order.
    public mutating func append(_ type: UInt16, number: UInt32) { append(type, NetlinkMessage.native(number.byteSwapped)) }

    /// NLA_F_NESTED.
    public mutating func append(_ type: UInt16, nested build: (inout NetlinkAttributes) -> Void) {
        var inner = NetlinkAttributes()
        build(&inner)
        append(type | 0x8000, inner.bytes)
    }
}
