import ProcessModel
import Testing

@testable import Checkpoint

@Suite struct SeccompTests {
    private func process(_ chains: [[Int]]) -> DeadProcess {
        let sample = SyntheticGroup()
        var process = DeadProcess(
            pid: 10, parentPID: 1, processGroupID: 10, sessionID: 10, state: .running, command: "filtered")
        for (index, chain) in chains.enumerated() {
            var thread = sample.thread(10 + Int32(index))
            let filters = chain.map {
                SeccompFilter(number: $0, program: [FilterInstruction(code: 6, operand: UInt32($0))])
            }
            if !filters.isEmpty { thread.seccomp = .filters(filters) }
            process.threads.append(thread)
        }
        return process
    }

    private func entries(_ image: SeccompImage) throws -> [ProtobufFields] {
        try image.filters.map { try ProtobufFields(parsing: $0.bytes) }
    }

    /// CRIU begins with the filter that the core names and follows `prev`.
    @Test func oldestFilterIsInstalledFirst() throws {
        let process = process([[1, 2, 3]])
        let image = SeccompImage([process])
        let entries = try entries(image)
        guard case .filters(var next)? = image.mode(of: process.threads[0]) else {
            Issue.record("no filters")
            return
        }
        var installed: [ProtobufFields.Value?] = []
        for _ in 0..<3 {
            let entry = entries[Int(next)]
            installed.append(entry.fields.first { $0.number == 1 }?.value)
            next = UInt32(entry.number(2) ?? 0)
        }
        #expect(installed == [1, 2, 3].map { .data([6, 0, 0, 0, $0, 0, 0, 0]) })
        #expect(entries[0].number(2) == nil)
    }

    @Test func filterOfAllThreadsIsInstalledByTheLeader() throws {
        let process = process([[1], [1]])
        let image = SeccompImage([process])
        #expect(image.mode(of: process.threads[0]) == .filters(first: 0))
        #expect(image.mode(of: process.threads[1]) == nil)
        #expect(try entries(image).map { $0.number(3) } == [1])
        #expect(SeccompImage.concern(about: process) == nil)
    }

    @Test func filterOfSomeThreadsIsInstalledByEach() throws {
        let process = process([[], [1], [1, 2]])
        let image = SeccompImage([process])
        #expect(image.mode(of: process.threads[0]) == nil)
        #expect(image.mode(of: process.threads[1]) == .filters(first: 0))
        #expect(image.mode(of: process.threads[2]) == .filters(first: 2))
        #expect(try entries(image).map { $0.number(3) } == [0, 0, 0])
        #expect(SeccompImage.concern(about: process) != nil)
    }
}
