import Testing

@testable import xenpr_lab

@Suite struct ZdtmBatchTests {
    private func program(_ name: String, source: String? = nil, hasHook: Bool = false) -> ZdtmProgram {
        ZdtmProgram(
            name: name, source: source ?? name, command: "", flavors: ["ns"], flags: [], dependencies: [], hasHook: hasHook)
    }

    @Test func programsWithHooksAreKeptApart() {
        let programs = (1...70).map { program("p\($0)") } + (1...4).map { program("h\($0)", hasHook: true) }
        let batches = Zdtm.batches(of: programs, size: 30)
        #expect(batches.count == 4)
        #expect(batches.allSatisfy { $0.count <= 30 && $0.count(where: \.hasHook) == 1 })
        #expect(Set(batches.joined().map(\.name)).count == 74)
    }

    @Test func programsOfOneSourceAreKeptApart() {
        let programs = (1...40).map { program("p\($0)") } + [program("auto"), program("manual", source: "auto")]
        let batches = Zdtm.batches(of: programs, size: 30)
        #expect(batches.map(\.count) == [21, 21])
        #expect(batches.allSatisfy { batch in batch.count { $0.source == "auto" } == 1 })
    }

    @Test func withoutHooksThereAreAsFewAsCanBe() {
        #expect(Zdtm.batches(of: (1...61).map { program("p\($0)") }, size: 60).map(\.count) == [31, 30])
        #expect(Zdtm.batches(of: [program("one")], size: 60).map(\.count) == [1])
        #expect(Zdtm.batches(of: [], size: 60).isEmpty)
    }
}
