import KernelObjects
import KernelTypes

/// `struct tcp_sock` (include/linux/tcp.h) and what it begins with, and `struct tcp_skb_cb` (include/net/tcp.h) in `skb->cb`.
struct TCPLayout: Sendable {
    // struct sock
    let error: Field
    let writeQueue: Field
    /// Segments that wait for their acknowledgment; in the write queue itself before 4.15 (commit 75c119afe14f).
    let retransmitQueue: Field
    // struct inet_sock
    let sourcePort: Field
    // struct inet_connection_sock
    let upperProtocol: Field?
    let userTimeout: Field?
    // struct tcp_sock
    let receiveNext: Field
    let copied: Field
    let writeNext: Field
    let sendNext: Field
    let unacknowledged: Field
    let sendUpdate: Field
    let sendWindow: Field
    let largestWindow: Field
    let receiveWindow: Field
    let receiveUpdate: Field
    let timestampOffset: Field
    let nagle: Field
    let repair: Field
    let urgentData: Field
    /// Since 6.7 (commit 614e8316aa4c).
    let microsecondTimestamps: Field?
    let signatures: [Field]
    let hasTimestamps: Field
    let hasSelectiveAcknowledgments: Field
    let hasWindowScales: Field
    let sendWindowScale: Field
    let receiveWindowScale: Field
    let maximumSegmentSize: Field
    // struct tcp_skb_cb, from the start of the sk_buff
    let sequence: Field
    let endSequence: Field
    let flags: Field
    let treeNode: Field
    let tree: RedBlackTreeLayout

    init(_ types: TypeTable) throws(KernelError) {
        let sock = try types.structure("sock")
        error = try sock.field("sk_err")
        writeQueue = try sock.field("sk_write_queue")
        retransmitQueue = try sock.field("tcp_rtx_queue")
        sourcePort = try types.structure("inet_sock").field("inet_sport")
        let connection = try types.structure("inet_connection_sock")
        upperProtocol = connection.optional("icsk_ulp_ops")
        userTimeout = connection.optional("icsk_user_timeout")
        let tcp = try types.structure("tcp_sock")
        receiveNext = try tcp.field("rcv_nxt")
        copied = try tcp.field("copied_seq")
        writeNext = try tcp.field("write_seq")
        sendNext = try tcp.field("snd_nxt")
        unacknowledged = try tcp.field("snd_una")
        sendUpdate = try tcp.field("snd_wl1")
        sendWindow = try tcp.field("snd_wnd")
        largestWindow = try tcp.field("max_window")
        receiveWindow = try tcp.field("rcv_wnd")
        receiveUpdate = try tcp.field("rcv_wup")
        timestampOffset = try tcp.field("tsoffset")
        nagle = try tcp.field("nonagle")
        repair = try tcp.field("repair")
        urgentData = try tcp.field("urg_data")
        microsecondTimestamps = tcp.optional("tcp_usec_ts")
        // TCP-MD5, and TCP-AO since 6.7 (commit c845f5f3590e).
        signatures = ["md5sig_info", "ao_info"].compactMap { tcp.optional($0) }
        hasTimestamps = try tcp.field("rx_opt.tstamp_ok")
        hasSelectiveAcknowledgments = try tcp.field("rx_opt.sack_ok")
        hasWindowScales = try tcp.field("rx_opt.wscale_ok")
        sendWindowScale = try tcp.field("rx_opt.snd_wscale")
        receiveWindowScale = try tcp.field("rx_opt.rcv_wscale")
        maximumSegmentSize = try tcp.field("rx_opt.mss_clamp")
        let buffer = try types.structure("sk_buff")
        let control = try buffer.field("cb")
        let segment = try types.structure("tcp_skb_cb")
        func inControl(_ name: String) throws(KernelError) -> Field {
            var field = try segment.field(name)
            field.offset += control.offset
            return field
        }
        sequence = try inControl("seq")
        endSequence = try inControl("end_seq")
        flags = try inControl("tcp_flags")
        treeNode = try buffer.field("rbnode")
        tree = try RedBlackTreeLayout(types)
    }
}
