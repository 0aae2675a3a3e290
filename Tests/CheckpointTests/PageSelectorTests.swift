import GuestMemory
import ProcessModel
import Testing

@testable import Checkpoint

@Suite struct PageSelectorTests {
    private func run(_ address: UInt64, _ frame: UInt64, _ count: UInt32) -> PageRun {
        PageRun(address: VirtualAddress(address), frame: FrameNumber(frame), count: count)
    }

    /// Zeros there would take the place of what the file has.
    @Test func pagesOfFilesThatNobodyHasWrittenToStayAsTheyAre() throws {
        let patch = MemoryPatch(address: VirtualAddress(0x1010), bytes: [1])
        var selector = PageSelector(
            ranges: [0x1000..<0x3000, 0x5000..<0x6000], fileRanges: [0x1000..<0x3000], stub: nil, patches: [patch])
        #expect(selector.finish().isEmpty && selector.unchangedPages == 1)
        var anonymous = PageSelector(ranges: [0x1000..<0x3000], stub: nil, patches: [patch])
        #expect(anonymous.finish().count == 1 && anonymous.unchangedPages == 0)
    }

    @Test func clipsToMappings() throws {
        var selector = PageSelector(ranges: [0x1000..<0x3000, 0x5000..<0x6000], stub: nil, patches: [])
        let segments = try selector.select([run(0, 10, 8)])
        #expect(segments == [.lent(run(0x1000, 11, 2)), .lent(run(0x5000, 15, 1))])
        #expect(selector.strayPages == 5)
        #expect(selector.finish().isEmpty)
    }

    @Test func weavesPatchesAndStubIn() throws {
        var stub = RestartStub(address: VirtualAddress(0x8000))
        var registers = GeneralRegisters()
        stub.resume(ResumedCall(number: 35, change: .milliseconds(1, .di)), registers: &registers)
        let patches = [
            MemoryPatch(address: VirtualAddress(0x2ffe), bytes: [1, 2, 3, 4]),
            MemoryPatch(address: VirtualAddress(0x6000), bytes: [9]),
        ]
        var selector = PageSelector(ranges: [0x1000..<0x7000, 0x8000..<0x9000], stub: stub, patches: patches)
        let segments = try selector.select([run(0x1000, 1, 3)])
        #expect(
            segments == [
                .lent(run(0x1000, 1, 1)),
                .patched(
                    address: VirtualAddress(0x2000), frame: FrameNumber(2),
                    patches: [MemoryPatch(address: VirtualAddress(0x2ffe), bytes: [1, 2])]),
                .patched(
                    address: VirtualAddress(0x3000), frame: FrameNumber(3),
                    patches: [MemoryPatch(address: VirtualAddress(0x3000), bytes: [3, 4])]),
            ])
        let rest = selector.finish()
        #expect(rest.count == 2)
        #expect(rest.first == .own(address: VirtualAddress(0x6000), bytes: [9] + Array(repeating: 0, count: 4095)))
        #expect(rest.last == .own(address: VirtualAddress(0x8000), bytes: stub.pages))
    }

    @Test func disorderIsRefused() throws {
        var selector = PageSelector(ranges: [0..<0x10000], stub: nil, patches: [])
        _ = try selector.select([run(0x4000, 1, 2)])
        #expect(throws: CheckpointError.self) { try selector.select([run(0x5000, 1, 1)]) }
        #expect(throws: CheckpointError.self) { try selector.select([run(0xffff_ffff_ffff_f000, 1, 2)]) }
        #expect(throws: CheckpointError.self) { try selector.select([run(0x6001, 1, 1)]) }
    }

    @Test func cursorGoesOnWhereItStopped() throws {
        var supply = ArraySupply()
        let object = MemoryObject.addressSpace(AddressSpaceID(rawValue: 1))
        supply.runs[object] = [
            run(0x1000, 1, 2), run(0x5000, 9, 1), run(0x8000, 20, 4), run(0xf000, 30, 1), run(0x20000, 31, 1),
        ]
        supply.batch = 1
        var cursor = BatchCursor(object, runLimit: 2)
        var portions: [[PageRun]] = []
        while let runs = try cursor.next(from: &supply) { portions.append(runs) }
        #expect(portions.flatMap { $0 } == supply.runs[object])
        #expect(portions.map(\.count) == [2, 2, 1])
    }
}
