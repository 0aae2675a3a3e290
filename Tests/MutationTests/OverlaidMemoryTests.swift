import GuestMemory
import SyntheticMemory
import Testing

@testable import Mutation

@Suite struct OverlaidMemoryTests {
    static func word(_ memory: OverlaidMemory, at address: UInt64) throws -> UInt64 {
        var word: UInt64 = 0
        // The buffer is the 8 bytes of `word`.
        try unsafe withUnsafeMutableBytes(of: &word) { try unsafe memory.read(PhysicalAddress(address), into: $0) }
        return word
    }

    @Test func changesAreSeenUntilTheyAreTakenBack() throws {
        let base = SyntheticMemory()
        base.write(0x1111, at: PhysicalAddress(0x5008))
        let memory = OverlaidMemory(base)
        #expect(try Self.word(memory, at: 0x5008) == 0x1111)
        memory.write([0x22], at: PhysicalAddress(0x5008))
        #expect(try Self.word(memory, at: 0x5008) == 0x1122)
        memory.restore()
        #expect(try Self.word(memory, at: 0x5008) == 0x1111)
    }

    @Test func whatIsMissingStaysMissing() throws {
        let memory = OverlaidMemory(SyntheticMemory())
        memory.write([1], at: PhysicalAddress(0x9000))
        #expect(throws: MemoryFault.self) { try Self.word(memory, at: 0x9000) }
        #expect(throws: MemoryFault.self) { try unsafe memory.withFrames([FrameNumber(9)]) { _ in } }
    }

    @Test func framesThatAreReadAreTold() throws {
        let base = SyntheticMemory()
        base.write(1, at: PhysicalAddress(0x5008))
        let memory = OverlaidMemory(base)
        #expect(try memory.framesRead { _ = try Self.word(memory, at: 0x5008) } == [5])
    }

    /// The entries of a process's page tables, and not those of the kernel's half.
    @Test func entriesOfPageTablesAreFound() {
        let base = SyntheticMemory()
        base.map(VirtualAddress(0x40_0000), to: FrameNumber(0x80))
        base.map(VirtualAddress(0xffff_8880_0000_0000), to: FrameNumber(0x81))
        // One of each of four levels.
        #expect(base.tables.userEntries(in: OverlaidMemory(base), limit: 100).count == 4)
        #expect(base.tables.userEntries(in: OverlaidMemory(base), limit: 2).count == 2)
    }
}
