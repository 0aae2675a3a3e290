import GuestMemory
import ProcessModel
import Testing

@testable import KernelProcesses

/// What is believed of a memory that may lie.
@Suite struct BudgetTests {
    private let place = VirtualAddress(0xffff_8880_0100_0000)

    private func filter(_ instructions: Int?) -> SeccompFilter {
        SeccompFilter(
            number: 1, program: instructions.map { Array(repeating: FilterInstruction(code: 6), count: $0) })
    }

    /// Seven of the longest programs and the penalties of six leave 4072 instructions to one more, which has its own.
    @Test func seccompFiltersAreAsLongTogetherAsTheKernelTakes() throws {
        var chain = SeccompChain()
        for _ in 0..<7 { try chain.add(filter(4096), at: place) }
        let seven = chain
        try chain.add(filter(4068), at: place)
        #expect(chain.filters.count == 8)
        #expect(throws: MemoryFault.self) {
            var chain = seven
            try chain.add(filter(4069), at: place)
        }
    }

    @Test func seccompFiltersEndWhereTheirProgramsAreUnknown() {
        #expect(throws: MemoryFault.self) {
            var chain = SeccompChain()
            for _ in 0..<32_768 { try chain.add(filter(nil), at: place) }
        }
    }

    @Test func queuesAndSemaphoresAreBoundedTogether() throws {
        var budget = IPCBudget()
        try budget.spend(48 << 20, at: place)
        let rest = budget
        #expect(throws: MemoryFault.self) {
            var budget = rest
            try budget.spend((16 << 20) + 1, at: place)
        }
        try budget.spend(16 << 20, at: place)
        #expect(budget.bytes == 0)
    }
}
