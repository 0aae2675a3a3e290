import GuestMemory
import KernelObjects
import KernelTypes
import ProcessModel

/// Options of IP and TCP sockets that CRIU does not save: 3.17 none of them (criu/sk-inet.c and sockets.c name those that it does), 4.1 only IP_TOS and IP_TTL, in fields
/// that the older one does not know.
struct InetOptionLayout: Sendable {
    /// An option, where the kernel keeps it, and what it is when nobody has set it. The numbers are those of include/uapi/linux/in.h and tcp.h.
    private struct Option: Sendable {
        var name: String
        var level: Int32
        var number: Int32
        var field: Field
        var unset: UInt64 = 0
        var mask = UInt64.max
        /// From what the kernel keeps to what it is told.
        var value: @Sendable (UInt64) -> UInt64 = { $0 }
    }

    private static let ip: Int32 = 0
    private static let tcp: Int32 = 6

    private var ip: [Option] = []
    private var tcp: [Option] = []
    /// Of sockets without a connection; with one, CRIU saves them.
    private var unconnected: [Option] = []

    init(_ types: TypeTable) {
        if let socket = try? types.structure("inet_sock") {
            if let field = socket.optional("tos") { ip.append(Option(name: "IP_TOS", level: Self.ip, number: 1, field: field)) }
            // -1 in two bytes: the system's.
            if let field = socket.optional("uc_ttl") {
                ip.append(Option(name: "IP_TTL", level: Self.ip, number: 2, field: field, unset: 0xffff, mask: 0xffff))
            }
        }
        if let socket = try? types.structure("inet_connection_sock") {
            for (name, number, path) in [
                ("TCP_USER_TIMEOUT", 18, "icsk_user_timeout"), ("TCP_SYNCNT", 7, "icsk_syn_retries"),
                ("TCP_FASTOPEN", 23, "icsk_accept_queue.fastopenq.max_qlen"),
            ] as [(String, Int32, String)] {
                if let field = socket.optional(path) {
                    tcp.append(Option(name: name, level: Self.tcp, number: number, field: field))
                }
            }
            if let field = socket.optional("icsk_accept_queue.rskq_defer_accept") {
                tcp.append(
                    Option(
                        name: "TCP_DEFER_ACCEPT", level: Self.tcp, number: 9, field: field,
                        value: Self.seconds(ofRetransmissions:)))
            }
        }
        if let socket = try? types.structure("tcp_sock") {
            if let field = socket.optional("rx_opt.user_mss") {
                tcp.append(Option(name: "TCP_MAXSEG", level: Self.tcp, number: 2, field: field))
            }
            if let field = socket.optional("nonagle") {
                // TCP_NAGLE_OFF and TCP_NAGLE_CORK of include/net/tcp.h.
                unconnected.append(
                    Option(name: "TCP_NODELAY", level: Self.tcp, number: 1, field: field, mask: 1, value: { _ in 1 }))
                unconnected.append(
                    Option(name: "TCP_CORK", level: Self.tcp, number: 3, field: field, mask: 2, value: { _ in 1 }))
            }
        }
    }

    /// TCP_DEFER_ACCEPT is told in seconds and kept as a number of retransmissions; these seconds give the same number again (retrans_to_secs of
    /// net/ipv4/tcp.c, with TCP_TIMEOUT_INIT of 1 s and TCP_RTO_MAX of 120 s).
    @Sendable private static func seconds(ofRetransmissions count: UInt64) -> UInt64 {
        var seconds: UInt64 = 0
        var timeout: UInt64 = 1
        // The kernel keeps it in a byte.
        for _ in 0..<min(count, 255) {
            seconds += timeout
            timeout = min(timeout * 2, 120)
        }
        return seconds
    }

    /// The options that were set.
    func late(of sock: VirtualAddress, isTCP: Bool, isConnected: Bool, _ kernel: KernelReader) throws(MemoryFault)
        -> [LateSocketOption]
    {
        var options: [LateSocketOption] = []
        for option in ip + (isTCP ? tcp : []) + (isTCP && !isConnected ? unconnected : []) {
            let value = try kernel.value(option.field, of: sock) & option.mask
            guard value != option.unset else { continue }
            options.append(
                LateSocketOption(
                    name: option.name, level: option.level, number: option.number, value: Int32(clamping: option.value(value))))
        }
        return options
    }
}
