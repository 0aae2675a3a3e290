import GuestMemory
import SyntheticMemory
import Testing

@Suite struct PageTablesTests {
    let page = VirtualAddress(0xffff_8880_0000_3000)

    @Test func translatesAPage() throws {
        let memory = SyntheticMemory()
        memory.map(page, to: FrameNumber(0x42))
        #expect(try memory.tables.translate(page + 0x123, in: memory) == PhysicalAddress(0x42123))
    }

    @Test func tellsNotMappedFromNotPresent() {
        let memory = SyntheticMemory()
        memory.map(page, to: FrameNumber(0), flags: 0)
        #expect(throws: MemoryFault(.notMapped, at: page)) { try memory.tables.translate(page, in: memory) }
        memory.map(page, to: FrameNumber(0x77), flags: 0)
        #expect(throws: MemoryFault(.notPresent(entry: 0x77000), at: page)) { try memory.tables.translate(page, in: memory) }
    }

    /// PROT_NONE entries have bit 8 and the frame number inverted.
    @Test func undoesTheInversionOfProtNone() {
        let frame: UInt64 = 0x1234
        let entry = PageTableEntry(rawValue: (~(frame << 12) & 0x000f_ffff_ffff_f000) | 1 << 8, size: 4096)
        #expect(entry.isProtNone)
        #expect(entry.frame == FrameNumber(frame))
    }

    /// As a 7.2 kernel writes it, and beside it other markers and a page that was swapped out.
    @Test func knowsPagesMadeUntouchable() {
        func isGuard(_ raw: UInt64) -> Bool { PageTableEntry(rawValue: raw, size: 4096).isGuard }
        #expect(isGuard(0xffff_ffff_ffff_f600))
        #expect(isGuard(0xffff_ffff_ffff_f600 | 2))
        #expect(!isGuard(0xffff_ffff_ffff_fa00) && !isGuard(0xffff_ffff_ffff_fc00))
        #expect(!isGuard(0x07ff_ffff_ffff_f600) && !isGuard(0xffff_ffff_ffff_f601) && !isGuard(0))
    }

    @Test func walksOnlyWhatIsMapped() throws {
        let memory = SyntheticMemory()
        let page = VirtualAddress(0x7f00_0000_3000)
        for index in [0, 1, 7] { memory.map(page + index * 4096, to: FrameNumber(UInt64(0x100 + index))) }
        var seen: [UInt64] = []
        var budget = PageTableBudget(of: memory, ranges: 1)
        try memory.tables.forEachEntry(
            in: page..<page + 5 * 4096, from: memory, within: &budget, fault: { _, _ in }
        ) { address, entry in
            seen.append((entry.frame?.rawValue ?? 0))
            #expect(address >= page)
        }
        #expect(seen == [0x100, 0x101])
    }

    /// A table that points at itself is walked to its depth and no further.
    @Test func aTableThatPointsAtItselfEnds() throws {
        let memory = SyntheticMemory()
        memory.write(UInt64(0x1003), at: PhysicalAddress(0x1000))
        var entries = 0
        var budget = PageTableBudget(of: memory, ranges: 1)
        try memory.tables.forEachEntry(
            in: VirtualAddress(0)..<VirtualAddress(1 << 47), from: memory, within: &budget, fault: { _, _ in }
        ) { _, _ in entries += 1 }
        #expect(entries == 1)
    }

    /// All of whose entries do: 2^27 tables would be walked.
    @Test func tablesThatAreMoreThanTheMemoryAreAFault() throws {
        let memory = SyntheticMemory()
        for index in 0..<512 { memory.write(UInt64(0x1003), at: PhysicalAddress(0x1000 + UInt64(index) * 8)) }
        var entries = 0
        var budget = PageTableBudget(tables: 100)
        #expect(throws: MemoryFault.self) {
            try memory.tables.forEachEntry(
                in: VirtualAddress(0)..<VirtualAddress(1 << 47), from: memory, within: &budget, fault: { _, _ in }
            ) { _, _ in entries += 1 }
        }
        #expect(entries <= 100 * 512)
    }

    /// An entry that leads to no memory is told, with the address it would have mapped.
    @Test func aTableThatIsNotThereIsAFault() throws {
        let memory = SyntheticMemory()
        memory.write(UInt64(0xffff_f003), at: PhysicalAddress(0x1000))
        var faults: [VirtualAddress] = []
        var budget = PageTableBudget(of: memory, ranges: 1)
        try memory.tables.forEachEntry(
            in: VirtualAddress(0)..<VirtualAddress(1 << 47), from: memory, within: &budget,
            fault: { address, _ in faults.append(address) }
        ) { _, _ in }
        #expect(faults == [VirtualAddress(0)])
    }
}
