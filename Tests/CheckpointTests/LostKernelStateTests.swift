import ProcessModel
import Testing

@testable import Checkpoint

/// What the kernel keeps for threads and address spaces, and no image has, is in the verdict.
@Suite struct LostKernelStateTests {
    private typealias Held = VerdictReasonTests.Held

    private static let ofThreads = [
        Held(testDescription: "keyring of a thread", verdict: .degraded, reason: "the keyring of thread 2002 is lost") {
            $0.processes[0].threads[1].keyrings = .thread
        },
        Held(testDescription: "keyring of a process", verdict: .degraded, reason: "its process keyring is lost") {
            for index in 0..<2 { $0.processes[0].threads[index].keyrings = .process }
        },
        Held(testDescription: "keys of a session", verdict: .degraded, reason: "the keys in its session keyring are lost") {
            for index in 0..<2 { $0.processes[0].threads[index].keyrings = .session }
        },
        Held(testDescription: "I/O ports", verdict: .refused, reason: "thread 2002 has permissions for I/O ports") {
            $0.processes[0].threads[1].hasPortPermissions = true
        },
        Held(testDescription: "core cookie", verdict: .degraded, reason: "cookie (PR_SCHED_CORE) of thread 2002 is lost") {
            $0.processes[0].threads[1].scheduling.hasCoreCookie = true
        },
        Held(testDescription: "utilization clamps", verdict: .degraded, reason: "thread 2002 had limits of utilization") {
            $0.processes[0].threads[1].scheduling.hasUtilizationClamps = true
        },
        Held(testDescription: "policy for errors of memory", verdict: .degraded, reason: "PR_MCE_KILL") {
            $0.processes[0].threads[0].hasMemoryErrorPolicy = true
        },
        Held(testDescription: "I/O of a disk", verdict: .degraded, reason: "PR_SET_IO_FLUSHER") {
            $0.processes[0].threads[0].isFlusher = true
        },
    ]

    private static let ofAddressSpaces = [
        Held(testDescription: "segment descriptors", verdict: .refused, reason: "modify_ldt") {
            $0.addressSpaces[AddressSpaceID(rawValue: 2)]?.hasSegmentDescriptors = true
        },
        Held(testDescription: "merged memory", verdict: .degraded, reason: "PR_SET_MEMORY_MERGE") {
            $0.addressSpaces[AddressSpaceID(rawValue: 2)]?.mergesFutureMappings = true
        },
    ]

    @Test(arguments: ofThreads + ofAddressSpaces) func isSaid(held: VerdictReasonTests.Held) {
        var group = SyntheticGroup().group
        #expect(GroupCheckpoint.assess(group).verdict < held.verdict)
        held.add(&group)
        let record = GroupCheckpoint.assess(group)
        #expect(record.verdict == held.verdict)
        let reasons = record.processes.flatMap(\.reasons)
        #expect(reasons.count { $0.contains(held.reason) } == 1, "\(reasons)")
    }

    @Test func allKeyringsOfAProcessAreSaid() {
        var process = SyntheticGroup().group.processes[0]
        #expect(KeyringAssessment.concerns(about: process).isEmpty)
        process.threads[0].keyrings = [.thread, .session]
        process.threads[1].keyrings = [.thread, .process]
        #expect(KeyringAssessment.concerns(about: process).count == 4)
    }
}
