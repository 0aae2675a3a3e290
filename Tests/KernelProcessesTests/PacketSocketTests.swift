import GuestMemory
import KernelObjects
import KernelTypes
import ProcessModel
import SyntheticMemory
import Testing

@testable import KernelProcesses

/// Memberships and rings of packet sockets in a dead kernel that may lie.
@Suite struct PacketSocketTests {
    let memory = SyntheticMemory()
    let memberships: PacketMembershipLayout
    let rings: PacketRingLayout
    let first = VirtualAddress(0xffff_8880_0001_0000)
    let second = VirtualAddress(0xffff_8880_0001_1000)
    let ring = VirtualAddress(0xffff_8880_0001_2000)
    let blocks = VirtualAddress(0xffff_8880_0001_3000)
    let buffer = VirtualAddress(0xffff_8880_0001_4000)

    init() throws {
        var types = SyntheticTypes()
        let byte = types.integer("unsigned char", size: 1)
        let short = types.integer("unsigned short", size: 2)
        let word = types.integer("unsigned int", size: 4)
        let pointer = types.pointer(to: byte)
        let address = types.array(of: byte, count: 32)
        _ = types.structure(
            "packet_mclist", size: 56,
            [
                ("next", pointer, 0), ("ifindex", word, 8), ("count", word, 12), ("type", short, 16), ("alen", short, 18),
                ("addr", address, 20),
            ])
        _ = types.structure("pgv", size: 8, [("buffer", pointer, 0)])
        let blockState = types.structure(
            "tpacket_kbdq_core", size: 16,
            [
                ("feature_req_word", word, 0), ("kactive_blk_num", short, 4), ("retire_blk_tov", short, 6),
                ("blk_sizeof_priv", word, 8),
            ])
        _ = types.structure(
            "packet_ring_buffer", size: 56,
            [
                ("pg_vec", pointer, 0), ("head", word, 8), ("frames_per_block", word, 12), ("frame_size", word, 16),
                ("frame_max", word, 20), ("pg_vec_pages", word, 24), ("pg_vec_len", word, 28), ("prb_bdqc", blockState, 32),
            ])
        let table = try TypeTable(btf: types.bytes)
        memberships = try PacketMembershipLayout(table)
        rings = try PacketRingLayout(table)
        // On device 1 twice, PACKET_MR_MULTICAST with an address of 6 bytes; then PACKET_MR_PROMISC on device 2.
        memory.place([second.rawValue, 1 | 2 << 32, 6 << 16 | 0x0001 << 32, 0x0403_025e], at: first)
        memory.place([0, 2 | 1 << 32, 1, 0, 0, 0, 0], at: second)
        memory.place([0, 0, 0], at: first + 32)
        // One block of one page with two frames; the first waits for the program.
        placeRing()
        memory.place([buffer.rawValue], at: blocks)
        memory.place([1], at: buffer)
        memory.place([0], at: buffer + 2048)
    }

    var reader: KernelReader {
        KernelReader(memory: VirtualMemory(source: memory, tables: memory.tables), symbols: SymbolTable(addresses: [:]))
    }

    func placeRing(perBlock: UInt64 = 2, frame: UInt64 = 2048, last: UInt64 = 1, pages: UInt64 = 1, count: UInt64 = 1) {
        memory.place(
            [blocks.rawValue, 1 | perBlock << 32, frame | last << 32, pages | count << 32, 60 << 48, 0], at: ring)
    }

    func readMemberships() throws(MemoryFault) -> [PacketSocket.Membership] {
        try reader.packetMemberships(from: first, layout: memberships) { PacketSocket.Device(number: $0, name: nil) }
    }

    func readRing(version: UInt32 = 1, isForSending: Bool = false) throws(MemoryFault) -> PacketSocket.Ring? {
        try reader.packetRing(at: ring, version: version, isForSending: isForSending, layout: rings)
    }

    @Test func readsMemberships() throws {
        let found = try readMemberships()
        #expect(found.map(\.device.number) == [1, 2])
        #expect(found.map(\.count) == [2, 1])
        #expect(found.map(\.type) == [0, 1])
        #expect(found.map(\.address) == [[1, 0, 0, 0, 0x5e, 2], []])
    }

    @Test func aChainInACircleEnds() {
        memory.place([first.rawValue], at: second)
        #expect(throws: MemoryFault.self) { try readMemberships() }
    }

    @Test(arguments: [1 | 0 << 32, 1 | 1_000_000 << 32] as [UInt64])
    func aCountThatCannotBeIsAFault(_ words: UInt64) {
        memory.place([0, words], at: first)
        #expect(throws: MemoryFault.self) { try readMemberships() }
    }

    @Test func anAddressThatIsTooLongIsAFault() {
        memory.place([0, 1 | 1 << 32, 33 << 16], at: first)
        #expect(throws: MemoryFault.self) { try readMemberships() }
    }

    @Test func readsRingsOfFrames() throws {
        let found = try #require(try readRing())
        #expect(found.blockBytes == 4096 && found.blockCount == 1 && found.frameBytes == 2048 && found.frameCount == 2)
        #expect(found.position == 1 && found.waitingPackets == 1 && found.retireMilliseconds == 0)
        memory.place([0], at: ring)
        #expect(try readRing() == nil)
    }

    @Test func readsRingsOfBlocks() throws {
        memory.place([0, 1 | 7 << 32], at: buffer)
        let found = try #require(try readRing(version: 2))
        #expect(found.position == 0 && found.waitingPackets == 7 && found.retireMilliseconds == 60)
    }

    @Test func ringsThatCannotBeAreFaults() {
        for change in [
            { placeRing(perBlock: 0) }, { placeRing(perBlock: 3) }, { placeRing(frame: 0) }, { placeRing(frame: 8192) },
            { placeRing(last: 0xffff_ffff) }, { placeRing(pages: 0xffff_ffff) }, { placeRing(last: 7, count: 0xffff_ffff) },
        ] as [() -> Void] {
            change()
            #expect(throws: MemoryFault.self) { try readRing() }
        }
        placeRing()
        memory.place([0xdead_0000_0000_0100], at: blocks)
        #expect(throws: MemoryFault.self) { try readRing() }
    }
}
