import KernelTypes

/// How one kind of expression keeps what its dump function tells (`ops->dump` of net/netfilter/nft_*.c): which fields of which structure are which attributes.
struct FilterExpressionForm: Sendable {
    /// `nft_expr_type.name`.
    let name: String
    /// Names of the variables that its operations are in, where the name of the type does not tell which of several structures it has; empty: any.
    let operations: Set<String>
    /// That has the structure, where nf_tables itself has not.
    let module: String
    /// The first that the kernel has, the newest first; empty: it has no data.
    let structures: [String]
    let attributes: [FilterAttributeForm]
    /// What fields alone do not tell.
    let special: Special?

    enum Special: Sendable {
        case immediate, compareFast, compare16, lookup, counter, limit(inBytes: Bool), log, connectionKey, objectReference
        case objectMap, dynamicSet, match, target, bitwise, bitwiseFast, quota, last, connectionLimit, hash, socket
    }

    init(
        _ name: String, _ operations: Set<String> = [], in module: String = "nf_tables", _ structures: [String] = [],
        _ attributes: [FilterAttributeForm] = [], special: Special? = nil
    ) {
        self.name = name
        self.operations = operations
        self.module = module
        self.structures = structures
        self.attributes = attributes
        self.special = special
    }
}

/// One attribute of an expression, and the field that it tells of.
struct FilterAttributeForm: Sendable {
    enum Encoding: Sendable {
        /// Numbers in network order.
        case u8, u16, u32
        /// The number of a register.
        case register
        /// `struct nft_data`, of as many bytes as the field `len` says.
        case data
        /// No field: it tells one kind of expression from another.
        case constant(UInt32)
    }

    let number: UInt16
    /// Or several names, of which the structure has one, with "|" between.
    let field: String
    let encoding: Encoding
    /// 0 is not told. Register 0 is that of the verdict: as a source it stands for none.
    let isOptional: Bool

    static func u8(_ number: UInt16, _ field: String) -> Self {
        .init(number: number, field: field, encoding: .u8, isOptional: false)
    }

    static func u16(_ number: UInt16, _ field: String) -> Self {
        .init(number: number, field: field, encoding: .u16, isOptional: false)
    }

    static func u32(_ number: UInt16, _ field: String, optional: Bool = false) -> Self {
        .init(number: number, field: field, encoding: .u32, isOptional: optional)
    }

    static func register(_ number: UInt16, _ field: String, optional: Bool = false) -> Self {
        .init(number: number, field: field, encoding: .register, isOptional: optional)
    }

    static func data(_ number: UInt16, _ field: String) -> Self {
        .init(number: number, field: field, encoding: .data, isOptional: false)
    }

    static func constant(_ number: UInt16, _ value: UInt32) -> Self {
        .init(number: number, field: "", encoding: .constant(value), isOptional: false)
    }
}

extension FilterExpressionForm {
    static let operationNames: Set<String> = all.reduce(into: []) { $0.formUnion($1.operations) }

    static let all: [FilterExpressionForm] = values + ofPackets + ofConnections + withSets + withState + statements

    /// What only computes with registers.
    private static let values: [FilterExpressionForm] = [
        .init("immediate", ["nft_imm_ops"], ["nft_immediate_expr"], [.register(1, "dreg")], special: .immediate),
        .init("cmp", ["nft_cmp_ops"], ["nft_cmp_expr"], [.register(1, "sreg"), .u32(2, "op"), .data(3, "data")]),
        .init("cmp", ["nft_cmp_fast_ops"], ["nft_cmp_fast_expr"], [.register(1, "sreg")], special: .compareFast),
        .init("cmp", ["nft_cmp16_fast_ops"], ["nft_cmp16_fast_expr"], [.register(1, "sreg")], special: .compare16),
        .init(
            "bitwise", ["nft_bitwise_ops"], ["nft_bitwise"],
            [.register(1, "sreg"), .register(2, "dreg"), .u32(3, "len"), .u32(6, "op")], special: .bitwise),
        .init(
            "bitwise", ["nft_bitwise_fast_ops"], ["nft_bitwise_fast_expr"], [.register(1, "sreg"), .register(2, "dreg")],
            special: .bitwiseFast),
        // Of one number only by now (7.2), in backports too: then `len` is gone.
        .init(
            "byteorder", ["nft_byteorder_ops"], ["nft_byteorder"],
            [.register(1, "sreg"), .register(2, "dreg"), .u32(3, "op"), .u32(4, "len|size"), .u32(5, "size")]),
        .init(
            "range", ["nft_range_ops"], ["nft_range_expr"],
            [.register(1, "sreg"), .u32(2, "op"), .data(3, "data_from"), .data(4, "data_to")]),
        .init(
            "hash", ["nft_jhash_ops"], in: "nft_hash", ["nft_jhash"],
            [
                .register(1, "sreg"), .register(2, "dreg"), .u32(3, "len"), .u32(4, "modulus"),
                .u32(6, "offset", optional: true),
                .constant(7, 0),
            ], special: .hash),
        .init(
            "hash", ["nft_symhash_ops"], in: "nft_hash", ["nft_symhash"],
            [.register(2, "dreg"), .u32(4, "modulus"), .u32(6, "offset", optional: true), .constant(7, 1)]),
        .init(
            "numgen", ["nft_ng_random_ops"], in: "nft_numgen", ["nft_ng_random"],
            [.register(1, "dreg"), .u32(2, "modulus"), .constant(3, 1), .u32(4, "offset")]),
        .init(
            "numgen", ["nft_ng_inc_ops"], in: "nft_numgen", ["nft_ng_inc"],
            [.register(1, "dreg"), .u32(2, "modulus"), .constant(3, 0), .u32(4, "offset")]),
    ]

    /// What looks at a packet or changes it.
    private static let ofPackets: [FilterExpressionForm] = [
        .init(
            "payload", ["nft_payload_ops", "nft_payload_fast_ops"], ["nft_payload"],
            [.register(1, "dreg"), .u32(2, "base"), .u32(3, "offset"), .u32(4, "len")]),
        .init(
            "payload", ["nft_payload_set_ops"], ["nft_payload_set"],
            [
                .register(5, "sreg"), .u32(2, "base"), .u32(3, "offset"), .u32(4, "len"), .u32(6, "csum_type"),
                .u32(7, "csum_offset"), .u32(8, "csum_flags"),
            ]),
        .init("meta", ["nft_meta_get_ops", "nft_meta_bridge_get_ops"], ["nft_meta"], [.register(1, "dreg"), .u32(2, "key")]),
        .init("meta", ["nft_meta_set_ops", "nft_meta_bridge_set_ops"], ["nft_meta"], [.register(3, "sreg"), .u32(2, "key")]),
        .init("rt", ["nft_rt_get_ops"], ["nft_rt"], [.register(1, "dreg"), .u32(2, "key")]),
        .init("fib", in: "nft_fib", ["nft_fib"], [.register(1, "dreg"), .u32(2, "result"), .u32(3, "flags")]),
        .init("socket", in: "nft_socket", ["nft_socket"], [.u32(1, "key"), .register(2, "dreg")], special: .socket),
        .init(
            "exthdr",
            ["nft_exthdr_ipv6_ops", "nft_exthdr_ipv4_ops", "nft_exthdr_tcp_ops", "nft_exthdr_sctp_ops", "nft_exthdr_dccp_ops"],
            ["nft_exthdr"],
            [.register(1, "dreg"), .u8(2, "type"), .u32(3, "offset"), .u32(4, "len"), .u32(5, "flags"), .u32(6, "op")]),
        .init(
            "exthdr", ["nft_exthdr_tcp_set_ops"], ["nft_exthdr"],
            [.register(7, "sreg"), .u8(2, "type"), .u32(3, "offset"), .u32(4, "len"), .u32(6, "op")]),
        .init("exthdr", ["nft_exthdr_tcp_strip_ops"], ["nft_exthdr"], [.u8(2, "type"), .u32(6, "op")]),
    ]

    /// What needs connection tracking.
    private static let ofConnections: [FilterExpressionForm] = [
        .init(
            "ct", ["nft_ct_get_ops", "nft_ct_get_fast_ops"], in: "nft_ct", ["nft_ct"], [.register(1, "dreg"), .u32(2, "key")],
            special: .connectionKey),
        .init(
            "ct", ["nft_ct_set_ops", "nft_ct_set_zone_ops"], in: "nft_ct", ["nft_ct"], [.register(4, "sreg"), .u32(2, "key")],
            special: .connectionKey),
        .init("notrack", in: "nft_ct"),
        .init(
            "nat", in: "nft_nat", ["nft_nat"],
            [
                .u32(1, "type"), .u32(2, "family"), .register(3, "sreg_addr_min", optional: true),
                .register(4, "sreg_addr_max", optional: true), .register(5, "sreg_proto_min", optional: true),
                .register(6, "sreg_proto_max", optional: true), .u32(7, "flags", optional: true),
            ]),
        .init(
            "masq", in: "nft_masq", ["nft_masq"],
            [
                .u32(1, "flags", optional: true), .register(2, "sreg_proto_min", optional: true),
                .register(3, "sreg_proto_max", optional: true),
            ]),
        .init(
            "redir", in: "nft_redir", ["nft_redir"],
            [
                .register(1, "sreg_proto_min", optional: true), .register(2, "sreg_proto_max", optional: true),
                .u32(3, "flags", optional: true),
            ]),
    ]

    private static let withSets: [FilterExpressionForm] = [
        .init("lookup", ["nft_lookup_ops"], ["nft_lookup"], [.register(2, "sreg")], special: .lookup),
        .init("dynset", ["nft_dynset_ops"], ["nft_dynset"], [.u32(3, "op"), .register(4, "sreg_key")], special: .dynamicSet),
        .init("objref", ["nft_objref_ops"], special: .objectReference),
        .init(
            "objref", ["nft_objref_map_ops"], in: "nft_objref", ["nft_objref_map"], [.register(3, "sreg")], special: .objectMap),
    ]

    /// What remembers.
    private static let withState: [FilterExpressionForm] = [
        .init("counter", ["nft_counter_ops"], in: "nft_counter", ["nft_counter_percpu_priv"], special: .counter),
        .init(
            "limit", ["nft_limit_pkts_ops"], in: "nft_limit", ["nft_limit_priv", "nft_limit"], special: .limit(inBytes: false)),
        .init(
            "limit", ["nft_limit_bytes_ops"], in: "nft_limit", ["nft_limit_priv", "nft_limit"], special: .limit(inBytes: true)),
        .init("quota", ["nft_quota_ops"], in: "nft_quota", ["nft_quota"], special: .quota),
        .init("last", ["nft_last_ops"], ["nft_last_priv"], special: .last),
        .init(
            "connlimit", ["nft_connlimit_ops"], in: "nft_connlimit", ["nft_connlimit"], [.u32(1, "limit")],
            special: .connectionLimit),
    ]

    /// What ends in a verdict or leaves the rule, and what iptables has.
    private static let statements: [FilterExpressionForm] = [
        .init("log", in: "nft_log", ["nft_log"], special: .log),
        .init("reject", in: "nft_reject", ["nft_reject"], [.u32(1, "type"), .u8(2, "icmp_code")]),
        .init(
            "queue", ["nft_queue_ops"], in: "nft_queue", ["nft_queue"],
            [.u16(1, "queuenum"), .u16(2, "queues_total"), .u16(3, "flags")]),
        .init("queue", ["nft_queue_sreg_ops"], in: "nft_queue", ["nft_queue"], [.register(4, "sreg_qnum"), .u16(3, "flags")]),
        .init(
            "tproxy", in: "nft_tproxy", ["nft_tproxy"],
            [.u32(1, "family"), .register(2, "sreg_addr", optional: true), .register(3, "sreg_port", optional: true)]),
        .init("match", in: "nft_compat", ["xt_match"], special: .match),
        .init("target", in: "nft_compat", ["xt_target"], special: .target),
    ]
}
