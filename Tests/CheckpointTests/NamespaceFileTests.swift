import ProcessModel
import Testing

@testable import Checkpoint

/// Descriptors that lead to namespaces: only those that a process of the group is in can be opened again.
@Suite struct NamespaceFileTests {
    /// The synthetic group, all of whose processes are in the network namespace 4026531840, with a namespace file in place of its signalfd.
    private func plan(_ kind: NamespaceKind, _ number: UInt32) -> (GroupPlan, FileAssessment?) {
        var sample = SyntheticGroup()
        let file = FileID(rawValue: 11)
        sample.group.openFiles[file]?.kind = .namespace(kind, number: number)
        sample.group.initNamespaces.network = 4_026_531_840
        for index in sample.group.processes.indices { sample.group.processes[index].namespaces.network = 4_026_531_840 }
        let plan = GroupPlan(sample.group)
        return (plan, plan.files.assessments[file])
    }

    @Test func oneThatAProcessIsInIsOpenedAgain() throws {
        let (whole, assessment) = plan(.network, 4_026_531_840)
        #expect(assessment?.severity == nil)
        let entries = try whole.files.entries.map { try ProtobufFields(parsing: $0.bytes) }
        let file = try #require(entries.first { $0.number(2) == 11 })
        #expect(file.number(1) == 14)
        let namespace = try #require(try file.message(5))
        // The number of the guest's own network among the ids of what processes share.
        #expect(namespace.number(1) == 11 && namespace.number(2) == 2 && namespace.number(3) == 0x4000_0000)
    }

    @Test(
        arguments: [
            (.network, 4_026_532_000, "a net namespace that no process"),
            (.uts, 4_026_531_840, "a uts namespace that no process"),
            (.time, 4_026_531_840, "a time namespace"),
        ] as [(NamespaceKind, UInt32, String)])
    func anotherOneRefuses(kind: NamespaceKind, number: UInt32, reason: String) {
        let assessment = plan(kind, number).1
        #expect(
            assessment?.severity == .refused && assessment?.reason.hasPrefix(reason) == true,
            "\(String(describing: assessment))")
    }
}
