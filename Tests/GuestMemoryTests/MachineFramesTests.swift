import GuestMemory
import SyntheticMemory
import Testing

@Suite struct MachineFramesTests {
    /// PFN 0 to 5: memory, memory, none, of another domain (FOREIGN_FRAME_BIT), a device (IDENTITY_FRAME_BIT), memory.
    let frames = MachineFrames(table: [0x900, 0x700, .max, 1 << 63 | 0x701, 1 << 62 | 0x702, 0x800])

    @Test func knowsBothNumbersOfAFrame() {
        #expect(
            (0..<7).map { frames.machineFrame(of: FrameNumber($0))?.rawValue } == [0x900, 0x700, nil, nil, nil, 0x800, nil])
        #expect([0x700, 0x800, 0x900].map { frames.frame(ofMachineFrame: FrameNumber($0))?.rawValue } == [1, 5, 0])
        for stranger: UInt64 in [0, 0x6ff, 0x701, 0x702, 0x901, .max] {
            #expect(frames.frame(ofMachineFrame: FrameNumber(stranger)) == nil)
        }
        #expect(frames.hasMemory && frames.frameLimit == FrameNumber(6))
        #expect(!MachineFrames(table: []).hasMemory && !MachineFrames(table: [.max]).hasMemory)
    }

    /// The limit of what is believed never overflows, whatever Xen or a dump says of a guest's size.
    @Test(arguments: [(0, 1 << 20), (1000, 2000 + 1 << 20), (UInt64.max, 1 << 31 + 1 << 20)] as [(UInt64, Int)])
    func boundsTheList(frames: UInt64, limit: Int) {
        #expect(MachineFrames.limit(frames: frames) == limit)
        #expect(limit < 1 << 32)
    }

    /// The tables' own places are by the guest's numbers, what stands in them by the machine's.
    @Test func pageTablesNameMachineFrames() throws {
        let page = VirtualAddress(0x7f00_0000_3000)
        // PROT_NONE: not present, so the kernel wrote its own number (xen_make_pte), inverted.
        let inverted = FrameNumber(~0x43 & 0xff_ffff_ffff)
        let memory = ParavirtualMemory { memory in
            memory.map(page, to: FrameNumber(0x1_0042), flags: 7)
            // Memory of the machine that is somebody else's.
            memory.map(page + 4096, to: FrameNumber(0x42_0042), flags: 7)
            memory.map(page + 8192, to: inverted, flags: 1 << 8)
        }
        #expect(try memory.tables.translate(page + 0x123, in: memory) == PhysicalAddress(0x42123))
        #expect(throws: MemoryFault(.notMapped, at: page + 4096)) { try memory.tables.translate(page + 4096, in: memory) }
        #expect(try memory.tables.translate(page + 8192, in: memory) == PhysicalAddress(0x43000))
        var seen: [UInt64] = []
        var budget = PageTableBudget(of: memory, ranges: 1)
        try memory.tables.forEachEntry(in: page..<page + 3 * 4096, from: memory, within: &budget, fault: { throw $1 }) {
            _, entry in
            seen.append(entry.frame?.rawValue ?? 0)
        }
        #expect(seen == [0x42, 0x43])
    }
}

/// A guest whose frame N is frame 0x10000 + N of the machine.
private final class ParavirtualMemory: FrameSource {
    private let memory = SyntheticMemory()
    private let offset: UInt64 = 0x1_0000
    let machineFrames: MachineFrames?
    let frameLimit = FrameNumber(0x1_0000)

    /// - Parameter fill: maps pages to frames of the machine.
    init(_ fill: (SyntheticMemory) -> Void) {
        machineFrames = MachineFrames(table: (0..<0x1_0000).map { 0x1_0000 + $0 })
        fill(memory)
        // The tables that were made on the way name each other by the guest's numbers.
        for table: UInt64 in [0x1000, 0x2000, 0x3000] {
            for index: UInt64 in 0..<512 {
                let place = PhysicalAddress(table + index * 8)
                let entry = word(at: place)
                if entry & 1 == 1 { memory.write(entry + offset << 12, at: place) }
            }
        }
    }

    var tables: PageTables { memory.tables }

    private func word(at address: PhysicalAddress) -> UInt64 {
        var word: UInt64 = 0
        // The buffer is the word, which lives during the call; a frame that is not there leaves it zero.
        unsafe withUnsafeMutableBytes(of: &word) { _ = unsafe try? memory.read(address, into: $0) }
        return word
    }

    func read(_ address: PhysicalAddress, into buffer: UnsafeMutableRawBufferPointer) throws(MemoryFault) {
        try unsafe memory.read(address, into: buffer)
    }

    func withFrames<Result>(
        _ frames: ArraySlice<FrameNumber>, _ body: ([UnsafeRawBufferPointer]) throws -> Result
    ) throws -> Result { try unsafe memory.withFrames(frames, body) }
}
