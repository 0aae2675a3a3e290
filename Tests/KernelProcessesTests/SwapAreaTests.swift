import GuestMemory
import Testing

@testable import KernelProcesses

@Suite struct SwapAreaTests {
    /// A swap file in two pieces, on a partition that begins at sector 2048.
    let area = SwapArea(
        address: .null, disk: "xvda", firstSector: 2048, slots: 100,
        extents: [.init(first: 0, count: 40, block: 1000), .init(first: 40, count: 60, block: 7000)])

    @Test func slotsLieWhereTheirPieceOfTheFileDoes() {
        let start: UInt64 = 2048 * 512
        #expect(area.position(of: 1) == start + 1001 * 4096)
        #expect(area.position(of: 39) == start + 1039 * 4096)
        #expect(area.position(of: 40) == start + 7000 * 4096)
        #expect(area.position(of: 99) == start + 7059 * 4096)
    }

    @Test func slotsBeyondTheEndAreNowhere() {
        #expect(area.position(of: 100) == nil)
        var short = area
        short.extents.removeLast()
        #expect(short.position(of: 40) == nil)
        short.extents = []
        #expect(short.position(of: 0) == nil)
    }
}
