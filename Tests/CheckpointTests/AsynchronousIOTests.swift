import GuestMemory
import ProcessModel
import Testing

@testable import Checkpoint

@Suite struct AsynchronousIOTests {
    private static let ring = VirtualAddress(0x7f00_0000_0000)

    /// The synthetic group, whose first address space has a context with a ring of two pages.
    private func plan(underWay: Int = 0, ringBytes: UInt64 = 8192, hasRing: Bool = true, hasContext: Bool = true) -> GroupPlan {
        var sample = SyntheticGroup()
        for id in sample.group.addressSpaces.keys {
            if hasContext {
                sample.group.addressSpaces[id]?.asynchronousIO = [
                    AsynchronousIO(ring: Self.ring, ringBytes: ringBytes, requestsUnderWay: underWay)
                ]
            }
            guard hasRing else { continue }
            sample.group.addressSpaces[id]?.mappings.append(
                Mapping(
                    start: Self.ring, end: Self.ring + 8192, offsetBytes: 0, protection: 3,
                    kind: .asynchronousIORing(InodeIdentity(device: 14, inode: 77))))
            sample.group.addressSpaces[id]?.mappings.sort { $0.start < $1.start }
        }
        return GroupPlan(sample.group)
    }

    private func reasons(_ plan: GroupPlan) -> [String] {
        plan.processes.flatMap(\.obstacles).map(\.reason).filter { $0.contains("asynchronous") }
    }

    @Test func idleContextsComeBack() throws {
        let whole = plan()
        #expect(reasons(whole).isEmpty)
        let space = try #require(whole.group.addressSpaces.values.first)
        let image = try ProtobufFields(
            parsing: MemoryImage.message(space, executable: 1, files: { $0.rawValue }, openFlags: { _ in 0 }).bytes)
        let entry = try #require(try image.message(16))
        // A ring of 255 events, which io_setup(2) makes when it is asked for 126.
        #expect(entry.number(1) == Self.ring.rawValue && entry.number(2) == 126 && entry.number(3) == 8192)
        let area = try #require(try image.messages(14).first { $0.number(1) == Self.ring.rawValue })
        #expect(area.number(7) == 1 << 13 && area.number(6) == 1)
    }

    @Test func whatCannotComeBackRefuses() {
        #expect(reasons(plan(underWay: 3)).contains("it has asynchronous I/O under way (3 requests)"))
        #expect(reasons(plan(ringBytes: 4096)).contains { $0.contains("is not where its context is") })
        #expect(reasons(plan(hasRing: false)).contains { $0.contains("is not where its context is") })
        #expect(reasons(plan(hasContext: false)).contains("it has a ring of asynchronous I/O without a context"))
    }
}
