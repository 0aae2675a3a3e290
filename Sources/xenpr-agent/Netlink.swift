import CLinux
import Glibc
import NetlinkMessages

/// A socket that asks the kernel for one thing after the other.
struct NetlinkSocket: ~Copyable {
    private let descriptor: Descriptor

    init(protocol number: Int32, name: String) throws(AgentError) {
        guard let descriptor = Descriptor(taking: xpr_netlink_socket(number)) else {
            throw systemError("the kernel has no \(name)")
        }
        self.descriptor = descriptor
    }

    /// Lets as many bytes be sent at once (SO_SNDBUFFORCE of include/uapi/asm-generic/socket.h), which a batch has to be. The kernel adds its own needs.
    func makeRoom(for bytes: Int) {
        var size = Int32(clamping: bytes + 4096)
        // The kernel reads one int.
        _ = unsafe setsockopt(descriptor.number, SOL_SOCKET, 32, &size, socklen_t(MemoryLayout<Int32>.size))
    }

    /// Sends messages together, and waits for the answer to the one with NLM_F_ACK. Fails with the first error that the kernel reports.
    func exchange(_ messages: [NetlinkMessage], acknowledged: UInt32, what: String) throws(AgentError) {
        try exchange(messages.flatMap(\.bytes), acknowledged: acknowledged, what: what)
    }

    /// - Parameter subject: what the message with a sequence number is about.
    func exchange(
        _ bytes: [UInt8], acknowledged: UInt32, what: String, subject: (UInt32) -> String? = { _ in nil }
    ) throws(AgentError) {
        guard System.write(descriptor.number, bytes) == bytes.count else { throw systemError("cannot \(what)") }
        var buffer = [UInt8](repeating: 0, count: 64 << 10)
        while true {
            guard System.poll([descriptor.number], milliseconds: 5000) == [true] else {
                throw AgentError(description: "cannot \(what): the kernel does not answer")
            }
            let count = System.read(descriptor.number, into: &buffer)
            guard count > 0 else { throw systemError("cannot \(what)") }
            if try Self.holdsAnswer(buffer.prefix(count), to: acknowledged, what: what, subject: subject) { return }
        }
    }

    /// NLMSG_ERROR: an errno, 0 for success, and the header of the message that it belongs to.
    private static func holdsAnswer(
        _ bytes: ArraySlice<UInt8>, to sequence: UInt32, what: String, subject: (UInt32) -> String?
    ) throws(AgentError) -> Bool {
        func word(_ at: Int) -> UInt32 {
            (0..<4).reduce(0) { at + $1 < bytes.endIndex ? $0 | UInt32(bytes[at + $1]) << (8 * UInt32($1)) : $0 }
        }
        var at = bytes.startIndex
        while at + 20 <= bytes.endIndex {
            let length = Int(word(at))
            guard length >= 20 else { break }
            if word(at + 4) & 0xffff == 2 {
                let error = Int32(bitPattern: word(at + 16))
                guard error == 0 else {
                    let place = subject(word(at + 8)).map { "\($0): " } ?? ""
                    throw AgentError(description: "cannot \(what): \(place)\(errorText(-error))")
                }
                if word(at + 8) == sequence { return true }
            }
            at += (length + 3) & ~3
        }
        return false
    }
}
