import GuestMemory
import KernelObjects
import KernelTypes
import ProcessModel

/// Matches and targets of iptables in a rule of nf_tables: `struct xt_match` and `struct xt_target` (include/linux/netfilter/x_tables.h) through net/netfilter/nft_compat.c.
extension PacketFilterReader {
    /// The largest, of xt_bpf and the like, have some hundred bytes.
    private static let informationLimit: UInt64 = 4096

    /// Those whose data say all that they do. What others remember (recent, hashlimit, quota), what they find by a number that means something else after the reboot (set, SET, cgroup), or
    /// a program (bpf), is in no rule.
    private static let matches: Set<String> = [
        "addrtype", "ah", "comment", "connlimit", "connmark", "conntrack", "cpu", "dccp", "devgroup", "dscp", "dst", "ecn",
        "esp", "eui64",
        "frag", "hbh", "helper", "hl", "icmp", "icmp6", "iprange", "ipv6header", "length", "limit", "mac", "mark", "mh",
        "multiport", "osf", "owner", "physdev", "pkttype", "policy", "realm", "rpfilter", "rt", "sctp", "socket", "state",
        "statistic", "string", "tcp", "tcpmss", "time", "tos", "ttl", "u32", "udp", "udplite",
    ]
    private static let targets: Set<String> = [
        "AUDIT", "CHECKSUM", "CLASSIFY", "CONNMARK", "CT", "DNAT", "DSCP", "ECN", "HL", "LOG", "MARK", "MASQUERADE", "NETMAP",
        "NFLOG",
        "NFQUEUE", "NOTRACK", "REDIRECT", "REJECT", "SNAT", "TCPMSS", "TCPOPTSTRIP", "TOS", "TPROXY", "TRACE", "TTL",
    ]
    private static let ofConnections: Set<String> = [
        "connlimit", "connmark", "conntrack", "helper", "state", "CONNMARK", "DNAT", "MASQUERADE", "NETMAP", "REDIRECT", "SNAT",
    ]

    /// nft_extension_dump_info: what is the kernel's own at the end of the data is not told.
    func extensionOfIPTables(
        _ data: VirtualAddress, _ form: FilterExpressionLayout, isMatch: Bool, _ rule: inout FilterRuleContext
    )
        throws -> [PacketFilter.Attribute]
    {
        let kind = form.form.name
        let description = try reader.pointer(layout.expression.custom, of: form.operations)
        let name = String(decoding: try reader.text(form.field("name"), of: description), as: UTF8.self)
        guard (isMatch ? Self.matches : Self.targets).contains(name) else {
            throw PacketFilterProblem("\(kind) \(name) of iptables")
        }
        guard rule.family == FilterRuleContext.internet || rule.family == FilterRuleContext.internet6 else {
            throw PacketFilterProblem("\(kind) \(name) of iptables in a table of another family")
        }
        let size = try reader.value(form.field(isMatch ? "matchsize" : "targetsize"), of: description)
        let own = try reader.value(form.field("usersize"), of: description)
        guard size <= Self.informationLimit, own <= size else {
            throw MemoryFault(.damaged("\(kind) of \(size) bytes"), at: description)
        }
        // XT_ALIGN
        let whole = Int(size + 7) & ~7
        let start: VirtualAddress
        switch symbols.names[try reader.pointer(layout.expression.evaluate, of: form.operations)] {
        case "nft_match_large_eval" where isMatch: start = try reader.memory.pointer(at: data)
        case "nft_match_eval" where isMatch, "nft_target_eval_xt" where !isMatch:
            guard form.size == layout.expression.data + whole else {
                throw MemoryFault(.damaged("\(kind) \(name) of \(whole) bytes in \(form.size)"), at: data)
            }
            start = data
        case let function: throw PacketFilterProblem("\(kind) \(name) of iptables by \(function ?? "an unknown function")")
        }
        let told = Int(own == 0 ? size : own)
        let information = try reader.memory.bytes(at: start, count: told) + Array(repeating: 0, count: whole - told)
        rule.noteExtension("\(kind) \(name) of iptables", layer4: try reader.value(form.field("proto"), of: description))
        if Self.ofConnections.contains(name) { usesConnections = true }
        return [
            .init(1, text: KernelString(name)),
            .init(2, value: UInt32(try reader.value(form.field("revision"), of: description))),
            .init(3, information),
        ]
    }
}
