import CLinux
import Glibc

/// A netlink message being written (include/uapi/linux/netlink.h): numbers of its frame as the machine has them.
struct NetlinkMessage {
    private(set) var bytes: [UInt8] = []

    /// - Parameters:
    ///   - header: what the protocol has between the message's own header and the attributes, a multiple of four bytes.
    init(type: UInt16, flags: UInt16, sequence: UInt32, header: [UInt8], _ build: (inout NetlinkAttributes) -> Void = { _ in })
    {
        var attributes = NetlinkAttributes()
        build(&attributes)
        let length = UInt32(16 + header.count + attributes.bytes.count)
        bytes = Self.native(length) + Self.native(type) + Self.native(flags) + Self.native(sequence) + Self.native(UInt32(0))
        bytes += header + attributes.bytes
    }

    static func native(_ number: some FixedWidthInteger) -> [UInt8] {
        // The machines that this runs on are little-endian.
        (0..<number.bitWidth / 8).map { UInt8(truncatingIfNeeded: number >> (8 * $0)) }
    }
}

/// Attributes of a netlink message: length, type, value, and zeros up to a multiple of four bytes.
struct NetlinkAttributes {
    private(set) var bytes: [UInt8] = []

    mutating func append(_ type: UInt16, _ value: [UInt8]) {
        bytes += NetlinkMessage.native(UInt16(4 + value.count)) + NetlinkMessage.native(type) + value
        bytes += [UInt8](repeating: 0, count: (4 - value.count % 4) % 4)
    }

    mutating func append(_ type: UInt16, text: String) { append(type, Array(text.utf8) + [0]) }

    /// A number in network order.
    mutating func append(_ type: UInt16, number: UInt32) { append(type, NetlinkMessage.native(number.byteSwapped)) }

    /// NLA_F_NESTED.
    mutating func append(_ type: UInt16, nested build: (inout NetlinkAttributes) -> Void) {
        var inner = NetlinkAttributes()
        build(&inner)
        append(type | 0x8000, inner.bytes)
    }
}

/// A socket that asks the kernel for one thing after the other.
struct NetlinkSocket: ~Copyable {
    private let descriptor: Descriptor

    init(protocol number: Int32, name: String) throws(AgentError) {
        guard let descriptor = Descriptor(taking: xpr_netlink_socket(number)) else {
            throw systemError("the kernel has no \(name)")
        }
        self.descriptor = descriptor
    }

    /// Sends messages together, and waits for the answer to the one with NLM_F_ACK. Fails with the first error that the kernel reports.
    func exchange(_ messages: [NetlinkMessage], acknowledged: UInt32, what: String) throws(AgentError) {
        let bytes = messages.flatMap(\.bytes)
        guard System.write(descriptor.number, bytes) == bytes.count else { throw systemError("cannot \(what)") }
        var buffer = [UInt8](repeating: 0, count: 64 << 10)
        while true {
            guard System.poll([descriptor.number], milliseconds: 5000) == [true] else {
                throw AgentError(description: "cannot \(what): the kernel does not answer")
            }
            let count = System.read(descriptor.number, into: &buffer)
            guard count > 0 else { throw systemError("cannot \(what)") }
            if try Self.holdsAnswer(buffer.prefix(count), to: acknowledged, what: what) { return }
        }
    }

    /// NLMSG_ERROR: an errno, 0 for success, and the header of the message that it belongs to.
    private static func holdsAnswer(_ bytes: ArraySlice<UInt8>, to sequence: UInt32, what: String) throws(AgentError) -> Bool {
        func word(_ at: Int) -> UInt32 {
            (0..<4).reduce(0) { at + $1 < bytes.endIndex ? $0 | UInt32(bytes[at + $1]) << (8 * UInt32($1)) : $0 }
        }
        var at = bytes.startIndex
        while at + 20 <= bytes.endIndex {
            let length = Int(word(at))
            guard length >= 20 else { break }
            if word(at + 4) & 0xffff == 2 {
                let error = Int32(bitPattern: word(at + 16))
                guard error == 0 else { throw AgentError(description: "cannot \(what): \(errorText(-error))") }
                if word(at + 8) == sequence { return true }
            }
            at += (length + 3) & ~3
        }
        return false
    }
}
