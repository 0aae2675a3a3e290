import CXen
import Glibc

/// The messages of xenstore's protocol (docs/misc/xenstore.txt, xen/include/public/io/xs_wire.h): a head of four 32-bit
/// words (type, request, transaction, length) and up to 4096 bytes.
///
/// Spoken here and not through libxenstore, because that needs a thread of its own for watches, which it cannot start in
/// a statically linked program like the minor, and which a program with one thread of control does not need.
@safe struct XenStoreWire: ~Copyable {
    struct Message {
        var type: UInt32
        var payload: [UInt8]
    }

    static let headSize = 16
    /// XENSTORE_PAYLOAD_MAX.
    static let payloadLimit = 4096

    /// The socket of xenstored in the control domain, else the kernel's way to it; owned, closed by `deinit`.
    let descriptor: Int32

    init() throws(XenError) {
        if let socket = try Self.connect(to: "/run/xenstored/socket") {
            descriptor = socket
            return
        }
        // String literals, which live as long as the calls.
        var device = unsafe open("/dev/xen/xenbus", O_RDWR | O_CLOEXEC)
        if device < 0, errno == ENOENT { device = unsafe open("/proc/xen/xenbus", O_RDWR | O_CLOEXEC) }
        guard device >= 0 else { throw .last("connect to xenstore") }
        descriptor = device
    }

    deinit { close(descriptor) }

    /// nil when no xenstored has a socket here.
    private static func connect(to path: String) throws(XenError) -> Int32? {
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        unsafe withUnsafeMutableBytes(of: &address.sun_path) { room in
            // The path, which is shorter than the field, and the zero byte that is there already.
            unsafe room.copyBytes(from: path.utf8)
        }
        let descriptor = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
        guard descriptor >= 0 else { return nil }
        let result = unsafe withUnsafePointer(to: &address) { pointer in
            // A sockaddr_un begins as a sockaddr, and its length is told.
            unsafe pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { general in
                unsafe Glibc.connect(descriptor, general, socklen_t(MemoryLayout<sockaddr_un>.size))
            }
        }
        guard result == 0 else {
            close(descriptor)
            return nil
        }
        return descriptor
    }

    /// Sends a request. The kernel's device wants the head and the payload as one write.
    func send(type: UInt32, request: UInt32, payload: [UInt8]) throws(XenError) {
        guard payload.count <= Self.payloadLimit else { throw XenError("send a request to xenstore", errno: E2BIG) }
        var bytes: [UInt8] = []
        for word in [type, request, 0, UInt32(payload.count)] {
            for shift in stride(from: UInt32(0), to: 32, by: 8) { bytes.append(UInt8(truncatingIfNeeded: word >> shift)) }
        }
        bytes += payload
        var sent = 0
        while sent < bytes.count {
            let rest = Array(bytes[sent...])
            // The array is as long as the call is told.
            let count = unsafe write(descriptor, rest, rest.count)
            if count < 0, errno == EINTR { continue }
            guard count > 0 else { throw .last("send a request to xenstore") }
            sent += count
        }
    }

    /// Receives one message, waiting for it.
    func receive() throws(XenError) -> Message {
        let head = try read(Self.headSize)
        func word(_ index: Int) -> UInt32 {
            (0..<4).reduce(0) { $0 | UInt32(head[index * 4 + $1]) << UInt32($1 * 8) }
        }
        guard Int(word(3)) <= Self.payloadLimit else { throw XenError("understand xenstore's answer", errno: EPROTO) }
        return Message(type: word(0), payload: try read(Int(word(3))))
    }

    private func read(_ count: Int) throws(XenError) -> [UInt8] {
        var bytes: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: count)
        while bytes.count < count {
            // The buffer has room for `count` bytes, and no more than that is asked for.
            let got = unsafe Glibc.read(descriptor, &buffer, count - bytes.count)
            if got < 0, errno == EINTR { continue }
            guard got >= 0 else { throw .last("read xenstore's answer") }
            guard got > 0 else { throw XenError("read xenstore's answer", errno: EPIPE) }
            bytes += buffer.prefix(got)
        }
        return bytes
    }
}
