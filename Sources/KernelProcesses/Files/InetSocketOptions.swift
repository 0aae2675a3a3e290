import GuestMemory
import KernelObjects
import KernelTypes
import ProcessModel

/// Options of IP and TCP sockets that CRIU does not save: 3.17 none of them (criu/sk-inet.c and sockets.c name those that it does), 4.1 only IP_TOS and IP_TTL, in fields
/// that the older one does not know.
struct InetOptionLayout: Sendable {
    /// The numbers are those of include/uapi/linux/in.h and tcp.h.
    private typealias Option = KeptSocketOption

    private static let ip: Int32 = 0
    private static let tcp: Int32 = 6
    private static let ipv6: Int32 = 41

    private var ip: [Option] = []
    private var tcp: [Option] = []
    /// Of the part of IPv6 sockets that `pinet6` leads to.
    private var ipv6: [Option] = []
    private var ipv6Part: Field?
    /// Of IPv6 sockets, in the word that they share with others since Linux 6.9.
    private var ipv6Flags: [Option] = []
    /// Not of TCP sockets, which keep other numbers in some of their places (tcp_v4_syn_recv_sock, net/ipv4/tcp_ipv4.c).
    private static let multicast: Set<String> = [
        "IP_MULTICAST_TTL", "IP_MULTICAST_LOOP", "IP_MULTICAST_ALL", "IPV6_MULTICAST_HOPS", "IPV6_MULTICAST_LOOP",
    ]
    /// Of sockets without a connection; with one, CRIU saves them.
    private var unconnected: [Option] = []
    private let congestionControl: CongestionControlLayout?

    init(_ types: TypeTable) {
        congestionControl = try? CongestionControlLayout(types)
        if let socket = try? types.structure("inet_sock") {
            if let field = socket.optional("tos") { ip.append(Option(name: "IP_TOS", level: Self.ip, number: 1, field: field)) }
            // -1 in two bytes: the system's.
            if let field = socket.optional("uc_ttl") {
                ip.append(Option(name: "IP_TTL", level: Self.ip, number: 2, field: field, unset: 0xffff, mask: 0xffff))
            }
        }
        addAddressing(types)
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

    /// What datagrams are told and asked with (ip(7), ipv6(7)): by `do_ip_setsockopt` of net/ipv4/ip_sockglue.c and `do_ipv6_setsockopt` of net/ipv6/ipv6_sockglue.c.
    private mutating func addAddressing(_ types: TypeTable) {
        guard let socket = try? types.structure("inet_sock") else { return }
        func bit(_ name: String, _ level: Int32, _ number: Int32, _ flag: String, unset: UInt64) -> Option? {
            guard let word = socket.optional("inet_flags"), let bit = types.enumerator("INET_FLAGS_\(flag)"), 0..<64 ~= bit
            else { return nil }
            return Option(
                name: name, level: level, number: number, field: word, unset: unset << UInt64(bit), mask: 1 << UInt64(bit),
                value: { $0 >> UInt64(bit) })
        }
        func flag(_ name: String, _ number: Int32, _ old: String, unset: UInt64 = 0) {
            // Since Linux 6.6 (commit c274af224269) bits of one word, fields of one bit before.
            if let option = bit(name, Self.ip, number, old.uppercased(), unset: unset) {
                ip.append(option)
            } else if let field = socket.optional(old) {
                ip.append(Option(name: name, level: Self.ip, number: number, field: field, unset: unset))
            }
        }
        flag("IP_RECVERR", 11, "recverr")
        flag("IP_TRANSPARENT", 19, "transparent")
        flag("IP_BIND_ADDRESS_NO_PORT", 24, "bind_address_no_port")
        flag("IP_MULTICAST_LOOP", 34, "mc_loop", unset: 1)
        flag("IP_MULTICAST_ALL", 49, "mc_all", unset: 1)
        // IP_CMSG_* of include/net/inet_sock.h, the same bits in both words.
        let told: [(String, Int32, UInt64)] = [
            ("IP_PKTINFO", 8, 0), ("IP_RECVTTL", 12, 1), ("IP_RECVTOS", 13, 2), ("IP_RECVOPTS", 6, 3), ("IP_RETOPTS", 7, 4),
            ("IP_RECVORIGDSTADDR", 20, 6), ("IP_CHECKSUM", 23, 7), ("IP_RECVFRAGSIZE", 25, 8),
        ]
        if let word = socket.optional("cmsg_flags") ?? socket.optional("inet_flags") {
            for (name, number, bit) in told {
                ip.append(
                    Option(name: name, level: Self.ip, number: number, field: word, mask: 1 << bit, value: { _ in 1 }))
            }
        }
        for (name, number, path, unset) in [
            ("IP_MTU_DISCOVER", 10, "pmtudisc", 1), ("IP_MULTICAST_TTL", 33, "mc_ttl", 1), ("IP_MINTTL", 21, "min_ttl", 0),
        ] as [(String, Int32, String, UInt64)] {
            if let field = socket.optional(path) {
                ip.append(Option(name: name, level: Self.ip, number: number, field: field, unset: unset))
            }
        }
        guard let part = try? types.structure("ipv6_pinfo") else { return }
        ipv6Part = socket.optional("pinet6")
        for (name, number, path) in [
            ("IPV6_RECVPKTINFO", 49, "rxinfo"), ("IPV6_2292PKTINFO", 2, "rxoinfo"), ("IPV6_RECVHOPLIMIT", 51, "rxhlim"),
            ("IPV6_2292HOPLIMIT", 8, "rxohlim"), ("IPV6_RECVRTHDR", 56, "srcrt"), ("IPV6_RECVHOPOPTS", 53, "hopopts"),
            ("IPV6_RECVDSTOPTS", 58, "dstopts"), ("IPV6_FLOWINFO", 11, "rxflow"), ("IPV6_RECVTCLASS", 66, "rxtclass"),
            ("IPV6_RECVPATHMTU", 60, "rxpmtu"), ("IPV6_RECVORIGDSTADDR", 74, "rxorigdstaddr"),
            ("IPV6_RECVFRAGSIZE", 77, "recvfragsize"),
        ] as [(String, Int32, String)] {
            if let field = part.optional("rxopt.bits.\(path)") {
                ipv6.append(Option(name: name, level: Self.ipv6, number: number, field: field))
            }
        }
        for (name, number, path, unset) in [
            ("IPV6_TCLASS", 67, "tclass", 0), ("IPV6_MTU_DISCOVER", 23, "pmtudisc", 1),
            ("IPV6_MULTICAST_HOPS", 18, "mcast_hops", 1), ("IPV6_RECVERR", 25, "recverr", 0),
            ("IPV6_MULTICAST_LOOP", 19, "mc_loop", 1),
        ] as [(String, Int32, String, UInt64)] {
            if let field = part.optional(path) {
                ipv6.append(Option(name: name, level: Self.ipv6, number: number, field: field, unset: unset))
            }
        }
        ipv6Flags = [
            bit("IPV6_RECVERR", Self.ipv6, 25, "RECVERR6", unset: 0),
            bit("IPV6_MULTICAST_LOOP", Self.ipv6, 19, "MC6_LOOP", unset: 1),
        ].compactMap { $0 }
        // -1: the route's, or the system's.
        if let field = part.optional("hop_limit") {
            let mask: UInt64 = field.bits.map { 1 << UInt64($0.count) - 1 } ?? 0xffff
            ipv6.append(Option(name: "IPV6_UNICAST_HOPS", level: Self.ipv6, number: 16, field: field, unset: mask, mask: mask))
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
    func late(of sock: VirtualAddress, isTCP: Bool, isConnected: Bool, isIPv6: Bool, _ kernel: KernelReader) throws(MemoryFault)
        -> [LateSocketOption]
    {
        var options = try kernel.options(
            set: ip + (isTCP ? tcp : []) + (isTCP && !isConnected ? unconnected : []), at: sock)
        if isTCP, let name = try congestionControl?.chosenName(of: sock, kernel) {
            options.append(LateSocketOption(name: "TCP_CONGESTION", level: Self.tcp, number: 13, value: .text(name)))
        }
        if isIPv6, let field = ipv6Part {
            let part = try kernel.pointer(field, of: sock)
            if !part.isNull {
                options += try kernel.options(set: ipv6, at: part) + kernel.options(set: ipv6Flags, at: sock)
            }
        }
        return isTCP ? options.filter { !Self.multicast.contains($0.name) } : options
    }
}
