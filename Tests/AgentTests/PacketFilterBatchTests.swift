import NetlinkMessages
import Testing

@testable import xenpr_agent

/// What the agent makes of the file of a packet filter, which stems from a dead kernel's memory.
@Suite struct PacketFilterBatchTests {
    static func message(_ request: NetfilterTables.Request) -> [UInt8] {
        NetlinkMessage(type: request.type, flags: 0, sequence: 0, header: NetfilterTables.header(family: 1)) {
            $0.append(1, text: "guard")
        }.bytes
    }

    static func word(_ bytes: [UInt8], _ at: Int) -> UInt32 {
        bytes[at..<at + 4].reversed().reduce(0) { $0 << 8 | UInt32($1) }
    }

    @Test func numbersItsMessages() throws {
        let batch = try PacketFilterBatch(Self.message(.newTable) + Self.message(.newRule))
        var at = 0
        var found: [[UInt32]] = []
        while at < batch.bytes.count {
            let type = Self.word(batch.bytes, at + 4)
            found.append([type & 0xffff, type >> 16, Self.word(batch.bytes, at + 8)])
            at += Int(Self.word(batch.bytes, at))
        }
        // The last one is answered (NLM_F_ACK), and a rule goes behind those that are there (NLM_F_APPEND).
        #expect(found == [[0x10, 1, 0], [0xa00, 0x401, 1], [0xa06, 0xc05, 2], [0x11, 1, 3]])
    }

    @Test func knowsTheModulesThatItNeeds() throws {
        func message(_ request: NetfilterTables.Request, _ build: (inout NetlinkAttributes) -> Void) -> [UInt8] {
            NetlinkMessage(type: request.type, flags: 0, sequence: 0, header: NetfilterTables.header(family: 2), build).bytes
        }
        let chain = message(.newChain) { $0.append(7, text: "nat") }
        let rule = message(.newRule) {
            $0.append(4) { list in
                list.append(1) { $0.append(1, text: "ct") }
                list.append(1) {
                    $0.append(1, text: "match")
                    $0.append(2) { $0.append(1, text: "multiport") }
                }
                list.append(1) { $0.append(1, text: "../../x") }
            }
        }
        let modules = try PacketFilterBatch(chain + rule).modules
        #expect(modules.isSuperset(of: ["nft-chain-2-nat", "nft-expr-ct", "nft-expr-2-ct", "nft-expr-match", "xt_multiport"]))
        #expect(!modules.contains { $0.contains("/") })
    }

    @Test func letsNothingElseThrough() {
        #expect(throws: AgentError.self) { try PacketFilterBatch([]) }
        #expect(throws: AgentError.self) { try PacketFilterBatch(Self.message(.deleteTable)) }
        #expect(throws: AgentError.self) { try PacketFilterBatch(NetfilterTables.end(sequence: 1).bytes) }
        // RTM_NEWLINK
        #expect(throws: AgentError.self) {
            try PacketFilterBatch(NetlinkMessage(type: 16, flags: 1, sequence: 1, header: [0, 0, 0, 0]).bytes)
        }
        let whole = Self.message(.newTable)
        for length in 1..<whole.count {
            #expect(throws: AgentError.self) { try PacketFilterBatch(Array(whole.prefix(length))) }
        }
    }
}
