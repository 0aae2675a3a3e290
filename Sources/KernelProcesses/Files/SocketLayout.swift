import KernelObjects
import KernelTypes

/// `struct socket`, `struct sock`, `struct unix_sock`, `struct inet_sock`, `struct tcp_sock` and `struct sk_buff` (include/net, include/linux).
struct SocketLayout: Sendable {
    // struct socket
    let type: Field
    let flags: Field
    let sock: Field
    let inode: Field
    let socketInAllocation: Field
    // struct sock
    let owner: Field
    let family: Field
    let state: Field
    let protocolNumber: Field
    let shutdown: Field
    let backlog: Field
    let pendingConnections: Field
    let receiveQueue: Field
    let receiveQueueLength: Field
    let peerPID: Field
    /// `struct cred` of the other end.
    let peerCredentials: Field
    let effectiveUID: Field
    let effectiveGID: Field
    let options: SocketOptionLayout
    let generalOptions: GeneralOptionLayout
    let unix: UnixSocketLayout
    let inet: InetSocketLayout
    /// nil: this kernel's connections are unlike those that are known.
    let inetOptions: InetOptionLayout
    let tcp: TCPLayout?
    /// nil: they are unlike those that are known.
    let raw: RawSocketLayout?
    let netlink: NetlinkSocketLayout?
    /// Nanoseconds of a tick, shifted up by 32 bits: since 6.13 in `tk_ntp_data` (kernel/time/ntp.c).
    let tickLength: Field?
    let buffer: SocketBufferLayout
    let devices: NetworkDeviceLayout?

    init(_ types: TypeTable) throws(KernelError) {
        let socket = try types.structure("socket")
        type = try socket.field("type")
        flags = try socket.field("flags")
        sock = try socket.field("sk")
        let allocation = try types.structure("socket_alloc")
        inode = try allocation.field("vfs_inode")
        socketInAllocation = try allocation.field("socket")
        let sock = try types.structure("sock")
        owner = try sock.field("sk_socket")
        family = try sock.field("__sk_common.skc_family")
        state = try sock.field("__sk_common.skc_state")
        protocolNumber = try sock.field("sk_protocol")
        shutdown = try sock.field("sk_shutdown")
        backlog = try sock.field("sk_max_ack_backlog")
        pendingConnections = try sock.field("sk_ack_backlog")
        receiveQueue = try sock.field("sk_receive_queue")
        receiveQueueLength = try sock.field("sk_receive_queue.qlen")
        peerPID = try sock.field("sk_peer_pid")
        peerCredentials = try sock.field("sk_peer_cred")
        let credentials = try types.structure("cred")
        effectiveUID = try credentials.field("euid.val")
        effectiveGID = try credentials.field("egid.val")
        options = try SocketOptionLayout(types)
        generalOptions = GeneralOptionLayout(types)
        unix = try UnixSocketLayout(types)
        inet = try InetSocketLayout(types)
        inetOptions = InetOptionLayout(types)
        tcp = try? TCPLayout(types)
        raw = try? RawSocketLayout(types)
        netlink = try? NetlinkSocketLayout(types)
        tickLength = (try? types.structure("ntp_data"))?.optional("tick_length_base")
        buffer = try SocketBufferLayout(types)
        devices = NetworkDeviceLayout(types)
    }
}

/// The fields behind `setsockopt(SOL_SOCKET)`.
struct SocketOptionLayout: Sendable {
    let sendBuffer: Field
    let receiveBuffer: Field
    let bufferLocks: Field
    /// Whether a program can say what is locked: SO_BUF_LOCK, option 72 since 5.15. Options are numbered as they come, so a kernel
    /// with option 73, which has a field of its own, has it too; CRIU fails where it is written and the kernel does not know it.
    let canLockBuffers: Bool
    let sendTimeout: Field
    let receiveTimeout: Field
    let lingerTime: Field
    let priority: Field
    let mark: Field
    let receiveLowWater: Field
    let filter: Field
    let filterProgram: Field
    let classicProgram: FilterProgramLayout
    let error: Field
    let omitsChecksums: Field?
    let flags: Field
    let reuse: Field
    let reusePort: Field
    let boundDevice: Field
    /// Bits of `struct sock` since Linux 6.16 (commit 7d8d93fdde50), of `socket->flags` before.
    let passesCredentials: Field?
    let passesSecurity: Field?
    /// Bits of `sk_flags` (`enum sock_flags`).
    let urgentInlineBit: UInt64
    let keepOpenBit: UInt64
    let lingerBit: UInt64
    let broadcastBit: UInt64
    let localRouteBit: UInt64
    let filterLockedBit: UInt64?

    init(_ types: TypeTable) throws(KernelError) {
        let sock = try types.structure("sock")
        sendBuffer = try sock.field("sk_sndbuf")
        receiveBuffer = try sock.field("sk_rcvbuf")
        bufferLocks = try sock.field("sk_userlocks")
        canLockBuffers = sock.optional("sk_reserved_mem") != nil
        sendTimeout = try sock.field("sk_sndtimeo")
        receiveTimeout = try sock.field("sk_rcvtimeo")
        lingerTime = try sock.field("sk_lingertime")
        priority = try sock.field("sk_priority")
        mark = try sock.field("sk_mark")
        receiveLowWater = try sock.field("sk_rcvlowat")
        filter = try sock.field("sk_filter")
        filterProgram = try types.structure("sk_filter").field("prog")
        classicProgram = try FilterProgramLayout(types)
        error = try sock.field("sk_err")
        omitsChecksums = sock.optional("sk_no_check_tx")
        flags = try sock.field("__sk_common.skc_flags")
        reuse = try sock.field("__sk_common.skc_reuse")
        reusePort = try sock.field("__sk_common.skc_reuseport")
        boundDevice = try sock.field("__sk_common.skc_bound_dev_if")
        passesCredentials = sock.optional("sk_scm_credentials")
        passesSecurity = sock.optional("sk_scm_security")
        // The first members of `enum sock_flags` have kept their places since Linux 2.6.
        urgentInlineBit = UInt64(clamping: types.enumerator("SOCK_URGINLINE") ?? 2)
        keepOpenBit = UInt64(clamping: types.enumerator("SOCK_KEEPOPEN") ?? 3)
        lingerBit = UInt64(clamping: types.enumerator("SOCK_LINGER") ?? 4)
        broadcastBit = UInt64(clamping: types.enumerator("SOCK_BROADCAST") ?? 6)
        localRouteBit = UInt64(clamping: types.enumerator("SOCK_LOCALROUTE") ?? 11)
        filterLockedBit = types.enumerator("SOCK_FILTER_LOCKED").map { UInt64(clamping: $0) }
    }
}

struct UnixSocketLayout: Sendable {
    let address: Field
    let path: Field
    let peer: Field
    let addressLength: Field
    let addressName: Field
    /// `consumed` of `struct unix_skb_parms`, in `skb->cb`.
    let consumed: Field
    let passedFiles: Field
    /// Who sent it; null unless one side asked for SO_PASSCRED.
    let senderPID: Field
    /// `struct scm_fp_list`.
    let passedCount: Field
    let passedList: Field

    init(_ types: TypeTable) throws(KernelError) {
        let unix = try types.structure("unix_sock")
        address = try unix.field("addr")
        path = try unix.field("path")
        peer = try unix.field("peer")
        let name = try types.structure("unix_address")
        addressLength = try name.field("len")
        addressName = try name.field("name")
        let parameters = try types.structure("unix_skb_parms")
        let control = try types.structure("sk_buff").field("cb")
        let consumed = try parameters.field("consumed")
        let files = try parameters.field("fp")
        self.consumed = Field(offset: control.offset + consumed.offset, size: consumed.size)
        passedFiles = Field(offset: control.offset + files.offset, size: files.size)
        let pid = try parameters.field("pid")
        senderPID = Field(offset: control.offset + pid.offset, size: pid.size)
        let list = try types.structure("scm_fp_list")
        passedCount = try list.field("count")
        passedList = try list.field("fp")
    }
}

struct InetSocketLayout: Sendable {
    let sourcePort: Field
    let destinationPort: Field
    let sourceAddress: Field
    let destinationAddress: Field
    /// Present with CONFIG_IPV6.
    let sourceAddress6: Field?
    let destinationAddress6: Field?
    let isIPv6Only: Field
    /// A bit field up to Linux 6.5, then a bit of `inet_flags` (commit 3f7e753206bb).
    let freeBind: Field?
    let flags: Field?
    let freeBindBit: UInt64
    let keepAliveTime: Field
    let keepAliveInterval: Field
    let keepAliveProbes: Field
    /// Datagrams that a reader has already taken off the receive queue (`udp_sock->reader_queue`).
    let readerQueueLength: Field?
    /// Data that is corked and not yet sent.
    let udpPending: Field?
    /// UDP_CORK: a member of its own up to Linux 6.5, then a bit of `udp_flags` (commit 81b36803ac13).
    let udpCork: Field?
    let udpFlags: Field?
    let udpCorkBit: UInt64
    /// The multicast groups that were joined (IP_ADD_MEMBERSHIP, IPV6_ADD_MEMBERSHIP).
    let memberships: Field?
    let inet6: Field?
    let memberships6: Field?
    /// Where multicast goes (IP_MULTICAST_IF, IPV6_MULTICAST_IF).
    let multicastDevice: Field?
    let multicastAddress: Field?
    let multicastDevice6: Field?

    init(_ types: TypeTable) throws(KernelError) {
        let sock = try types.structure("sock")
        sourcePort = try sock.field("__sk_common.skc_num")
        destinationPort = try sock.field("__sk_common.skc_dport")
        sourceAddress = try sock.field("__sk_common.skc_rcv_saddr")
        destinationAddress = try sock.field("__sk_common.skc_daddr")
        sourceAddress6 = sock.optional("__sk_common.skc_v6_rcv_saddr")
        destinationAddress6 = sock.optional("__sk_common.skc_v6_daddr")
        isIPv6Only = try sock.field("__sk_common.skc_ipv6only")
        let inet = try types.structure("inet_sock")
        freeBind = inet.optional("freebind")
        flags = inet.optional("inet_flags")
        freeBindBit = UInt64(clamping: types.enumerator("INET_FLAGS_FREEBIND") ?? 0)
        let tcp = try types.structure("tcp_sock")
        keepAliveTime = try tcp.field("keepalive_time")
        keepAliveInterval = try tcp.field("keepalive_intvl")
        keepAliveProbes = try tcp.field("keepalive_probes")
        let udp = try types.structure("udp_sock")
        readerQueueLength = udp.optional("reader_queue.qlen")
        udpPending = udp.optional("pending")
        udpCork = udp.optional("corkflag")
        udpFlags = udp.optional("udp_flags")
        udpCorkBit = UInt64(clamping: types.enumerator("UDP_FLAGS_CORK") ?? 0)
        memberships = inet.optional("mc_list")
        inet6 = inet.optional("pinet6")
        memberships6 = (try? types.structure("ipv6_pinfo"))?.optional("ipv6_mc_list")
        multicastDevice = inet.optional("mc_index")
        multicastAddress = inet.optional("mc_addr")
        multicastDevice6 = (try? types.structure("ipv6_pinfo"))?.optional("mcast_oif")
    }
}

/// `struct sk_buff` and `struct skb_shared_info` (include/linux/skbuff.h).
struct SocketBufferLayout: Sendable {
    let next: Field
    let socket: Field
    let length: Field
    let pagedLength: Field
    let data: Field
    let head: Field
    let end: Field
    let fragmentCount: Field
    let fragments: Field
    let fragmentList: Field
    let fragmentSize: Int
    let fragmentPage: Field
    let fragmentLength: Field
    let fragmentOffset: Field

    init(_ types: TypeTable) throws(KernelError) {
        let buffer = try types.structure("sk_buff")
        next = try buffer.field("next")
        socket = try buffer.field("sk")
        length = try buffer.field("len")
        pagedLength = try buffer.field("data_len")
        data = try buffer.field("data")
        head = try buffer.field("head")
        end = try buffer.field("end")
        let shared = try types.structure("skb_shared_info")
        fragmentCount = try shared.field("nr_frags")
        fragments = try shared.field("frags")
        fragmentList = try shared.field("frag_list")
        fragmentSize = fragments.elementSize
        // `skb_frag_t` was a `struct bio_vec` from 5.4 to 6.8 and is a structure of its own again (commit 21d2e6737c97).
        if let own = try? types.structure("skb_frag"), let page = own.optional("netmem") ?? own.optional("bv_page") {
            fragmentPage = page
            fragmentLength = try own.field(anyOf: "len", "bv_len")
            fragmentOffset = try own.field(anyOf: "offset", "bv_offset")
        } else {
            let vector = try types.structure("bio_vec")
            fragmentPage = try vector.field("bv_page")
            fragmentLength = try vector.field("bv_len")
            fragmentOffset = try vector.field("bv_offset")
        }
    }
}
