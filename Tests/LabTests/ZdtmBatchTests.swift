import Testing

@testable import xenpr_lab

@Suite struct ZdtmBatchTests {
    private func program(_ name: String, hasHook: Bool = false) -> ZdtmProgram {
        ZdtmProgram(name: name, command: "", flavors: ["ns"], flags: [], dependencies: [], hasHook: hasHook)
    }

    @Test func programsWithHooksAreKeptApart() {
        let programs = (1...70).map { program("p\($0)") } + (1...4).map { program("h\($0)", hasHook: true) }
        let batches = Zdtm.batches(of: programs, size: 30)
        #expect(batches.count == 4)
        #expect(batches.allSatisfy { $0.count <= 30 && $0.count(where: \.hasHook) == 1 })
        #expect(Set(batches.joined().map(\.name)).count == 74)
    }

    @Test func withoutHooksThereAreAsFewAsCanBe() {
        #expect(Zdtm.batches(of: (1...61).map { program("p\($0)") }, size: 60).map(\.count) == [31, 30])
        #expect(Zdtm.batches(of: [program("one")], size: 60).map(\.count) == [1])
        #expect(Zdtm.batches(of: [], size: 60).isEmpty)
    }
}
