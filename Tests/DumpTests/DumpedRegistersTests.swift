import DumpSource
import GuestMemory
import Testing

@testable import KernelProcesses

/// Registers of CPUs out of a dump's notes.
@Suite(.enabled(if: DumpUnderTest.path != nil, DumpUnderTest.comment), .serialized)
struct DumpedRegistersTests {
    @Test func theNotesSayWhatTheMonitorSays() throws {
        let path = try #require(DumpUnderTest.path)
        let noted = try DumpFile(path: path).cpus
        let told = try QEMURegisters.read(path: path + ".registers")
        #expect(!noted.isEmpty && noted.map(\.number) == told.map(\.number))
        for (note, word) in zip(noted, told) {
            #expect(note.instructionPointer == word.instructionPointer && note.stackPointer == word.stackPointer)
            #expect(note.general == word.general && note.flags == word.flags)
            #expect(note.codeSegment == word.codeSegment && note.stackSegment == word.stackSegment)
            #expect(note.fsBase == word.fsBase && note.gsBase == word.gsBase && note.pageTableRoot == word.pageTableRoot)
        }
    }

    /// The notes of a dying kernel name the task that a CPU ran, and not the CPU.
    @Test func contextsAreFoundByTheTaskThatTheyName() throws {
        let numbered = try DumpUnderTest.kernel()
        var running: [TaskAddress] = []
        var other: TaskAddress?
        for leader in numbered.threadGroups() {
            for task in try numbered.threads(of: leader) {
                if try numbered.cpuNumber(of: task) != nil { running.append(task) } else { other = task }
            }
        }
        #expect(!running.isEmpty)
        let contexts = try running.enumerated().map { index, task in
            var context = VCPUContext(number: 100 + index)
            context.taskID = try numbered.reader.int32(numbered.layout.task.pid, of: task)
            return context
        }
        let named = DeadKernel(
            source: numbered.source, manifest: numbered.manifest, layout: numbered.layout, cpus: contexts.reversed())
        for (index, task) in running.enumerated() {
            #expect(try named.context(of: task, onCPU: 0)?.number == 100 + index)
        }
        #expect(try named.context(of: try #require(other), onCPU: 0) == nil)
    }
}
