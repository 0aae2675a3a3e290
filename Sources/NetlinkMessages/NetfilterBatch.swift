/// What nfnetlink calls nf_tables, and its messages that make something (include/uapi/linux/netfilter/nf_tables.h).
public enum NetfilterTables {
    /// NETLINK_NETFILTER
    public static let netlinkProtocol: Int32 = 12
    /// NFNL_SUBSYS_NFTABLES
    public static let subsystem: UInt16 = 10

    public enum Request: UInt16, Sendable, CaseIterable {
        case newTable = 0
        case deleteTable = 2
        case newChain = 3
        case newRule = 6
        case newSet = 9
        case newElements = 12
        case newObject = 18

        /// As it stands in a message.
        public var type: UInt16 { NetfilterTables.subsystem << 8 | rawValue }

        /// NLM_F_REQUEST with, for what is made, NLM_F_CREATE and, for what has an order, NLM_F_APPEND.
        public var flags: UInt16 { self == .deleteTable ? 1 : self == .newRule ? 0xc01 : 0x401 }
    }

    /// `struct nfgenmsg`
    public static func header(family: UInt8) -> [UInt8] { [family, 0, 0, 0] }

    /// NFNL_MSG_BATCH_BEGIN: what stands between this and the end happens as one, or not at all.
    public static var begin: NetlinkMessage {
        NetlinkMessage(type: 0x10, flags: 1, sequence: 0, header: [0, 0, 0, UInt8(subsystem)])
    }

    /// NFNL_MSG_BATCH_END
    public static func end(sequence: UInt32) -> NetlinkMessage {
        NetlinkMessage(type: 0x11, flags: 1, sequence: sequence, header: [0, 0, 0, UInt8(subsystem)])
    }
}
