import GuestMemory
import KernelObjects
import KernelTypes
import ProcessModel

/// Options of IP and TCP sockets that do not come back. CRIU 3.17 saves none of them (criu/sk-inet.c and sockets.c name those that it does), 4.1 only
/// IP_TOS and IP_TTL, in fields that the older one does not know.
struct InetOptionLayout: Sendable {
    /// An option, where the kernel keeps it, and what it is when nobody has set it.
    private struct Option: Sendable {
        var name: String
        var field: Field
        var unset: UInt64
        var mask = UInt64.max
    }

    private var ip: [Option] = []
    private var tcp: [Option] = []
    /// Of sockets without a connection; with one, CRIU saves them.
    private var unconnected: [Option] = []

    init(_ types: TypeTable) {
        if let socket = try? types.structure("inet_sock") {
            if let field = socket.optional("tos") { ip.append(Option(name: "IP_TOS", field: field, unset: 0)) }
            // -1 in two bytes: the system's.
            if let field = socket.optional("uc_ttl") {
                ip.append(Option(name: "IP_TTL", field: field, unset: 0xffff, mask: 0xffff))
            }
        }
        if let socket = try? types.structure("inet_connection_sock") {
            for (name, path) in [
                ("TCP_USER_TIMEOUT", "icsk_user_timeout"), ("TCP_SYNCNT", "icsk_syn_retries"),
                ("TCP_DEFER_ACCEPT", "icsk_accept_queue.rskq_defer_accept"),
                ("TCP_FASTOPEN", "icsk_accept_queue.fastopenq.max_qlen"),
            ] {
                if let field = socket.optional(path) { tcp.append(Option(name: name, field: field, unset: 0)) }
            }
        }
        if let socket = try? types.structure("tcp_sock") {
            if let field = socket.optional("rx_opt.user_mss") { tcp.append(Option(name: "TCP_MAXSEG", field: field, unset: 0)) }
            if let field = socket.optional("nonagle") {
                // TCP_NAGLE_OFF and TCP_NAGLE_CORK of include/net/tcp.h.
                unconnected.append(Option(name: "TCP_NODELAY", field: field, unset: 0, mask: 1))
                unconnected.append(Option(name: "TCP_CORK", field: field, unset: 0, mask: 2))
            }
        }
    }

    /// The names of the options that were set and that nobody sets again.
    func lost(of sock: VirtualAddress, isTCP: Bool, isConnected: Bool, _ kernel: KernelReader) throws(MemoryFault) -> [String] {
        var names: [String] = []
        for option in ip + (isTCP ? tcp : []) + (isTCP && !isConnected ? unconnected : []) {
            if try kernel.value(option.field, of: sock) & option.mask != option.unset { names.append(option.name) }
        }
        return names
    }
}
