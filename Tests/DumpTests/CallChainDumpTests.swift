import GuestMemory
import Testing

@testable import KernelProcesses

/// Kernel stacks of a dump's tasks, unwound as they are.
@Suite(.enabled(if: DumpUnderTest.path != nil, DumpUnderTest.comment), .serialized)
struct CallChainDumpTests {
    @Test func everyCallLeadsBackToItsProgram() throws {
        let kernel = try DumpUnderTest.kernel()
        var seen = 0
        for task in kernel.threadGroups() where try !kernel.reader.pointer(kernel.layout.task.mm, of: task).isNull {
            if let number = try kernel.cpuNumber(of: task), let cpu = try kernel.context(of: task, onCPU: number),
                cpu.isInUserMode
            {
                continue
            }
            let chain = try kernel.callChain(of: task)
            #expect(chain != nil, "task \(task)")
            seen += 1
            guard try kernel.cpuNumber(of: task) == nil, let chain else { continue }
            let isSwitchedOut = chain.instructions.contains { kernel.manifest.symbols.contains($0, in: "schedule") }
            let stage = try kernel.interruptedCall(
                of: task, registers: kernel.registers(of: task), clocks: kernel.clocks()
            ).stage
            #expect(isSwitchedOut || stage != .asleep, "who sleeps has called schedule")
        }
        #expect(seen > 0)
    }
}
