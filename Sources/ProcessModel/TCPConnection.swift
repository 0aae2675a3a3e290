/// What both ends of a TCP connection have agreed on and what is on its way (`struct tcp_sock`).
///
/// What is not in here, such as congestion control and segments that arrived out of order, TCP finds again by itself.
public struct TCPConnection: Sendable, Hashable {
    /// TCP_ESTABLISHED 1 and so on (include/net/tcp_states.h).
    public var state: UInt32
    /// `rcv_nxt`: the next byte that is expected. A FIN that was received counts as one.
    public var receiveNext: UInt32 = 0
    /// `write_seq`: the byte after the last one that the program wrote. A FIN of ours counts as one.
    public var writeNext: UInt32 = 0
    /// Received and not yet read.
    public var receiveQueue: [UInt8] = []
    /// Written and not yet acknowledged, oldest first.
    public var sendQueue: [UInt8] = []
    /// How many bytes at the end of ``sendQueue`` were never sent.
    public var unsentBytes = 0
    public var usesTimestamps = false
    public var usesSelectiveAcknowledgments = false
    public var usesWindowScales = false
    public var sendWindowScale: UInt32 = 0
    public var receiveWindowScale: UInt32 = 0
    /// `rx_opt.mss_clamp`.
    public var maximumSegmentSize: UInt32 = 0
    /// What the next segment would have carried as its timestamp.
    public var timestamp: UInt32 = 0
    /// TCP_NODELAY and TCP_CORK.
    public var isNoDelay = false
    public var isCorked = false
    public var window = Window()

    /// `struct tcp_repair_window` (include/uapi/linux/tcp.h).
    public struct Window: Sendable, Hashable {
        public var sendUpdate: UInt32 = 0
        public var send: UInt32 = 0
        public var largest: UInt32 = 0
        public var receive: UInt32 = 0
        public var receiveUpdate: UInt32 = 0

        public init() {}
    }

    public init(state: UInt32) {
        self.state = state
    }
}
