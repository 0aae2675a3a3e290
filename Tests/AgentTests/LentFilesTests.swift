import Foundation
import Testing

@testable import xenpr_agent

/// Open files that the agent makes for CRIU.
@Suite struct LentFilesTests {
    private func read(_ number: Int32) -> [UInt8]? {
        var buffer = [UInt8](repeating: 0, count: 8)
        return System.read(number, into: &buffer) == 8 ? buffer : nil
    }

    private func lend(_ kind: RecoveryManifest.LentFile.Kind, flags: Int32) throws(AgentError) -> LentFiles {
        var queues = PosixQueues()
        let file = RecoveryManifest.LentFile(name: "xenpr-lent/7", flags: flags, kind: kind)
        guard let group = GroupName("sample") else { throw AgentError(description: "no name") }
        return try LentFiles([file], images: "/nowhere", of: group, queues: &queues)
    }

    @Test func aSemaphoreIsTakenOneByOne() throws {
        let lent = try lend(.semaphore(counter: 2), flags: O_RDWR | O_NONBLOCK)
        let number = try #require(lent.numbers.first)
        #expect(lent.options == ["--inherit-fd", "fd[\(number)]:xenpr-lent/7"])
        #expect(read(number) == [1, 0, 0, 0, 0, 0, 0, 0])
        #expect(read(number) == [1, 0, 0, 0, 0, 0, 0, 0])
        #expect(read(number) == nil, "it does not block, as it did not")
    }

    @Test func onesThatCannotBeMadeSayWhy() {
        #expect(throws: AgentError.self) {
            // No eventfd counts that far.
            _ = try lend(.semaphore(counter: .max), flags: O_RDWR)
        }
    }

    @Test func aProgramGetsThemAndNothingElse() throws {
        let lent = try lend(.semaphore(counter: 0), flags: O_RDWR | O_NONBLOCK)
        let number = try #require(lent.numbers.first)
        func hasIt(_ lent: [Int32]) throws -> Bool {
            try ChildProgram(arguments: ["test", "-e", "/proc/self/fd/\(number)"], lent: lent).run(timeoutSeconds: 60) == 0
        }
        #expect(try hasIt([number]))
        #expect(try !hasIt([]))
    }
}
