import GuestMemory
import ProcessModel
import Testing

@Suite struct SwapEntryTests {
    /// As a 6.1 kernel writes it for the first slot behind the header of the first area, and for one of the third; the lower bits are flags.
    @Test func pageTablesHaveTheTypeAboveTheInvertedOffset() {
        func entry(_ raw: UInt64) -> SwapEntry? { PageTableEntry(rawValue: raw, size: 4096).swapEntry }
        #expect(entry(0x07ff_ffff_ffff_fc00) == SwapEntry(type: 0, offset: 1))
        #expect(entry(0x17ff_ffff_ffff_0002) == SwapEntry(type: 2, offset: 0x7f))
        #expect(entry(0) == nil && entry(0x8000_0000_1234_5067) == nil)
        #expect(entry(0x7fff_ffff_1234_5180) == nil, "PROT_NONE is a page in memory")
    }

    @Test func elsewhereTheTypeIsInTheUppermostFiveOf63Bits() {
        #expect(SwapEntry(value: 2 << 58 | 77) == SwapEntry(type: 2, offset: 77))
    }

    @Test func slotsAreFramesThatNoMemoryHas() throws {
        for slot in [SwapEntry(type: 0, offset: 0), SwapEntry(type: 31, offset: (1 << 45) - 1), SwapEntry(type: 3, offset: 9)] {
            let frame = try #require(FrameNumber(slot))
            #expect(frame.swapSlot == slot)
            #expect(frame.rawValue > 1 << 40, "x86-64 has physical addresses of 52 bits")
            #expect(frame.address.rawValue >> 12 == frame.rawValue, "its address is none of memory's either")
        }
        let next = try #require(FrameNumber(SwapEntry(type: 3, offset: 10)))
        #expect(FrameNumber(SwapEntry(type: 3, offset: 9))?.rawValue == next.rawValue - 1)
        #expect(FrameNumber(SwapEntry(type: 0, offset: 1 << 45)) == nil)
        #expect(FrameNumber((1 << 40) - 1).swapSlot == nil)
    }
}
