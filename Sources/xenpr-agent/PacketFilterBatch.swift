import NetlinkMessages

/// The messages that make a packet filter again, out of a file of the checkpoint. They were derived from a dead kernel's memory: only such are let through that make something of nf_tables, and
/// what is in them the kernel checks.
struct PacketFilterBatch {
    /// With the beginning and the end of the batch.
    private(set) var bytes: [UInt8]
    /// What the messages make, in the order of their sequence numbers from 1 on.
    private var requests: [NetfilterTables.Request] = []

    /// `struct nlmsghdr` and `struct nfgenmsg`
    private static let headerSize = 20
    private static let allowed: [UInt16: NetfilterTables.Request] = Dictionary(
        uniqueKeysWithValues: NetfilterTables.Request.allCases.filter { $0 != .deleteTable }.map { ($0.type, $0) })

    init(_ messages: [UInt8]) throws(AgentError) {
        bytes = NetfilterTables.begin.bytes
        bytes.reserveCapacity(messages.count + 64)
        var at = 0
        while at < messages.count {
            guard at + Self.headerSize <= messages.count else { throw Self.damaged }
            let length = Int(Self.word(messages, at))
            let type = UInt16(truncatingIfNeeded: Self.word(messages, at + 4))
            guard length >= Self.headerSize, length % 4 == 0, length <= messages.count - at, let request = Self.allowed[type]
            else {
                throw Self.damaged
            }
            requests.append(request)
            // NLM_F_ACK
            let flags = request.flags | (at + length == messages.count ? 4 : 0)
            bytes += messages[at..<at + 6] + NetlinkMessage.native(flags) + NetlinkMessage.native(UInt32(requests.count))
            bytes += NetlinkMessage.native(UInt32(0)) + messages[at + 16..<at + length]
            noteModules(of: request, messages[at + 16..<at + length])
            at += length
        }
        guard !requests.isEmpty else { throw Self.damaged }
        bytes += NetfilterTables.end(sequence: UInt32(requests.count + 1)).bytes
    }

    private static let damaged = AgentError(description: "the packet filter in the checkpoint is damaged")

    private static func word(_ bytes: [UInt8], _ at: Int) -> UInt32 {
        (0..<4).reduce(0) { $0 | UInt32(bytes[at + $1]) << (8 * UInt32($1)) }
    }

    /// By what names the kernel asks for the modules that it needs (MODULE_ALIAS_NFT_* of include/net/netfilter/nf_tables.h, xt_request_find_match of net/netfilter/x_tables.c).
    private(set) var modules: Set<String> = []

    /// - Parameter body: `struct nfgenmsg` and the attributes.
    private mutating func noteModules(of request: NetfilterTables.Request, _ body: ArraySlice<UInt8>) {
        guard let family = body.first else { return }
        let attributes = NetlinkReader(body.dropFirst(4))
        switch request {
        case .newChain:
            // NFTA_CHAIN_TYPE
            if let type = attributes[7]?.text { modules.insert("nft-chain-\(family)-\(type)") }
        case .newObject:
            // NFTA_OBJ_TYPE
            if let type = attributes[3]?.bytes.last { modules.insert("nft-obj-\(type)") }
        case .newRule:
            // NFTA_RULE_EXPRESSIONS, and of each NFTA_EXPR_NAME and NFTA_EXPR_DATA
            for element in attributes[4]?.elements ?? [] {
                guard let name = element[1]?.text else { continue }
                modules.formUnion(["nft-expr-\(name)", "nft-expr-\(family)-\(name)"])
                guard name == "match" || name == "target", let own = element[2]?[1]?.text else { continue }
                modules.formUnion(["xt_\(own)", "ipt_\(own)", "ip6t_\(own)"])
            }
        default: break
        }
    }

    /// Makes it in the network namespace of the calling process: all of it or, when the kernel refuses a part, nothing.
    func send() throws(AgentError) {
        let socket = try NetlinkSocket(protocol: NetfilterTables.netlinkProtocol, name: "nf_tables")
        socket.makeRoom(for: bytes.count)
        try socket.exchange(bytes, acknowledged: UInt32(requests.count), what: "make the packet filter", subject: subject)
    }

    private func subject(_ sequence: UInt32) -> String? {
        guard sequence > 0, sequence <= requests.count else { return nil }
        let request = requests[Int(sequence) - 1]
        let number = requests.prefix(Int(sequence)).count { $0 == request }
        return "\(request.word) \(number)"
    }
}

extension NetfilterTables.Request {
    fileprivate var word: String {
        switch self {
        case .newTable, .deleteTable: "table"
        case .newChain: "chain"
        case .newRule: "rule"
        case .newSet: "set"
        case .newElements: "elements"
        case .newObject: "object"
        }
    }
}
