import NetlinkMessages

/// Keeps the packets of a group's TCP connections away from the kernel until all of the group's sockets are there: it would answer
/// those that it has no socket for with a reset, and end the connection.
///
/// CRIU makes such a lock when it saves, and takes it away when it has restored the sockets. Here nobody has saved with CRIU, so the lock is
/// made before it starts: a table of nf_tables, which goes when CRIU has ended. What the group's processes send in between is sent again by TCP.
/// In a network namespace of the group's own CRIU makes the table, with the namespace, out of the images.
struct ConnectionLock {
    let table: String

    init(_ group: GroupName) {
        table = "xenpr-\(group)"
    }

    /// That of the images (`NetworkAssessment.connectionLock`).
    private init(table: String) { self.table = table }

    static let ofImages = ConnectionLock(table: "xenpr-lock")

    /// NFPROTO_INET: IPv4 and IPv6.
    private static let family: UInt8 = 1
    /// What CRIU marks its own packets with, by which it gives a socket its FIN (SOCCR_MARK of soccr/soccr.h).
    private static let criuMark: UInt32 = 0xc114
    private static let rulesAtOnce = 200

    private enum Hook: UInt32, CaseIterable {
        /// NF_INET_LOCAL_IN, NF_INET_LOCAL_OUT
        case input = 1
        case output = 3

        var chain: String { self == .input ? "input" : "output" }
    }

    func lock(_ connections: [RecoveryManifest.Connection]) throws(AgentError) {
        let socket = try NetlinkSocket(protocol: NetfilterTables.netlinkProtocol, name: "nf_tables")
        var requests: [Build] = [(.newTable, { $0.append(1, text: table) })]
        for hook in Hook.allCases {
            requests.append((.newChain, { chain(&$0, hook) }))
            requests.append((.newRule, { rule(&$0, hook, Self.acceptOfCRIU) }))
        }
        try send(requests, over: socket)
        for start in stride(from: 0, to: connections.count, by: Self.rulesAtOnce) {
            let part = connections[start..<min(start + Self.rulesAtOnce, connections.count)]
            try send(
                part.flatMap { connection in
                    Hook.allCases.map { hook -> Build in
                        let from = hook == .output ? connection.source : connection.destination
                        let to = hook == .output ? connection.destination : connection.source
                        return (.newRule, { rule(&$0, hook, { Self.drop(&$0, from: from, to: to) }) })
                    }
                }, over: socket)
        }
    }

    /// Takes the lock away.
    func unlock() throws(AgentError) {
        let socket = try NetlinkSocket(protocol: NetfilterTables.netlinkProtocol, name: "nf_tables")
        try send([(.deleteTable, { $0.append(1, text: table) })], over: socket)
    }

    private typealias Build = (request: NetfilterTables.Request, attributes: (inout NetlinkAttributes) -> Void)

    /// All of them or none, in a batch of nfnetlink.
    private func send(_ requests: [Build], over socket: borrowing NetlinkSocket) throws(AgentError) {
        var messages = [NetfilterTables.begin]
        for (index, request) in requests.enumerated() {
            // NLM_F_ACK
            let flags = request.request.flags | (index == requests.count - 1 ? 4 : 0)
            messages.append(
                NetlinkMessage(
                    type: request.request.type, flags: flags, sequence: UInt32(index + 1),
                    header: NetfilterTables.header(family: Self.family), request.attributes))
        }
        messages.append(NetfilterTables.end(sequence: UInt32(requests.count + 1)))
        try socket.exchange(messages, acknowledged: UInt32(requests.count), what: "lock TCP connections with nf_tables")
    }

    /// NFTA_CHAIN_TABLE, _NAME, _HOOK (with its number and priority), _TYPE.
    private func chain(_ attributes: inout NetlinkAttributes, _ hook: Hook) {
        attributes.append(1, text: table)
        attributes.append(3, text: hook.chain)
        attributes.append(4) {
            $0.append(1, number: hook.rawValue)
            $0.append(2, number: 0)
        }
        attributes.append(7, text: "filter")
    }

    /// NFTA_RULE_TABLE, _CHAIN, _EXPRESSIONS.
    private func rule(_ attributes: inout NetlinkAttributes, _ hook: Hook, _ expressions: (inout NetlinkAttributes) -> Void) {
        attributes.append(1, text: table)
        attributes.append(2, text: hook.chain)
        attributes.append(4, nested: expressions)
    }

    private static func acceptOfCRIU(_ list: inout NetlinkAttributes) {
        // NFT_META_MARK
        meta(&list, key: 3)
        compare(&list, NetlinkMessage.native(criuMark))
        verdict(&list, isAccept: true)
    }

    private static func drop(_ list: inout NetlinkAttributes, from source: UInt16, to destination: UInt16) {
        // NFT_META_L4PROTO: TCP
        meta(&list, key: 16)
        compare(&list, [6])
        expression(&list, "payload") {
            // Into the first register the four bytes of both ports, with which the transport header (NFT_PAYLOAD_TRANSPORT_HEADER) begins.
            $0.append(1, number: 1)
            $0.append(2, number: 2)
            $0.append(3, number: 0)
            $0.append(4, number: 4)
        }
        compare(&list, NetlinkMessage.native(source.byteSwapped) + NetlinkMessage.native(destination.byteSwapped))
        verdict(&list, isAccept: false)
    }

    /// NFTA_LIST_ELEM with NFTA_EXPR_NAME and NFTA_EXPR_DATA.
    private static func expression(
        _ list: inout NetlinkAttributes, _ name: String, _ data: (inout NetlinkAttributes) -> Void
    ) {
        list.append(1) {
            $0.append(1, text: name)
            $0.append(2, nested: data)
        }
    }

    private static func meta(_ list: inout NetlinkAttributes, key: UInt32) {
        expression(&list, "meta") {
            $0.append(1, number: 1)
            $0.append(2, number: key)
        }
    }

    /// The first register is equal to `value`.
    private static func compare(_ list: inout NetlinkAttributes, _ value: [UInt8]) {
        expression(&list, "cmp") {
            $0.append(1, number: 1)
            $0.append(2, number: 0)
            $0.append(3) { $0.append(1, value) }
        }
    }

    /// NF_DROP 0, NF_ACCEPT 1, into the verdict's register.
    private static func verdict(_ list: inout NetlinkAttributes, isAccept: Bool) {
        expression(&list, "immediate") {
            $0.append(1, number: 0)
            $0.append(2) { $0.append(2) { $0.append(1, number: isAccept ? 1 : 0) } }
        }
    }
}
