import ProcessModel
import Testing

@testable import Checkpoint

/// What CRIU would drop without a word has its reason in the verdict.
@Suite struct VerdictReasonTests {
    /// Something that a process of the group holds, and what becomes of it.
    struct Held: Sendable, CustomTestStringConvertible {
        var testDescription: String
        var verdict: Verdict
        var reason: String
        var add: @Sendable (inout ProtectedGroup) -> Void
    }

    private static let held = [
        Held(testDescription: "personality under seccomp", verdict: .degraded, reason: "personality 0x40000") {
            $0.processes[0].personality = 0x40000
            $0.processes[0].threads[0].seccomp = .strict
        },
        Held(testDescription: "no_new_privs under seccomp", verdict: .degraded, reason: "no_new_privs") {
            $0.processes[0].threads[0].credentials.noNewPrivileges = true
            $0.processes[0].threads[0].seccomp = .strict
        },
        Held(testDescription: "pidfd of another group", verdict: .refused, reason: "not of the group") {
            $0.openFiles[FileID(rawValue: 11)]?.kind = .pidfd(process: 99)
        },
        Held(testDescription: "pidfd under seccomp", verdict: .refused, reason: "pidfd") {
            $0.openFiles[FileID(rawValue: 11)]?.kind = .pidfd(process: SyntheticGroup.keeper)
            $0.processes[0].threads[0].seccomp = .strict
        },
        Held(testDescription: "a process that is being killed", verdict: .refused, reason: "being killed") {
            $0.processes[0].pendingSignals.append(PendingSignal(signal: 9, info: []))
        },
        Held(testDescription: "confinement", verdict: .degraded, reason: "not confined by AppArmor") {
            $0.processes[0].threads[0].credentials.confinement = "AppArmor"
        },
        Held(testDescription: "policy that children do not get", verdict: .degraded, reason: "SCHED_RESET_ON_FORK") {
            $0.processes[0].threads[0].scheduling.resetsOnFork = true
        },
        Held(testDescription: "memory policy of a thread", verdict: .degraded, reason: "set_mempolicy") {
            $0.processes[0].threads[0].scheduling.hasMemoryPolicy = true
        },
        Held(testDescription: "memory policy of an area", verdict: .degraded, reason: "mbind") {
            $0.addressSpaces[AddressSpaceID(rawValue: 2)]?.mappings[1].hasMemoryPolicy = true
        },
        Held(testDescription: "no transparent huge pages", verdict: .degraded, reason: "PR_SET_THP_DISABLE") {
            $0.addressSpaces[AddressSpaceID(rawValue: 2)]?.transparentHugePagesDisabled = true
        },
        Held(testDescription: "future memory locked under seccomp", verdict: .degraded, reason: "MCL_FUTURE") {
            $0.addressSpaces[AddressSpaceID(rawValue: 2)]?.locksFutureMappings = true
            $0.processes[0].threads[0].seccomp = .strict
        },
        Held(testDescription: "locked when touched", verdict: .degraded, reason: "MLOCK_ONFAULT") {
            $0.addressSpaces[AddressSpaceID(rawValue: 2)]?.mappings[1].isLockedOnFault = true
        },
        Held(testDescription: "timer of a thread's time", verdict: .degraded, reason: "timer 0 counts the processor time") {
            $0.processes[0].posixTimers[0].clock = -2
        },
        Held(testDescription: "memory barriers under seccomp", verdict: .degraded, reason: "membarrier") {
            $0.addressSpaces[AddressSpaceID(rawValue: 2)]?.memoryBarriers = 0b11
            $0.processes[0].threads[0].seccomp = .strict
        },
        Held(testDescription: "deadline scheduling", verdict: .refused, reason: "scheduling policy 6") {
            $0.processes[0].threads[0].scheduling.policy = 6
        },
        Held(testDescription: "protection key that is nobody's", verdict: .refused, reason: "nobody has allocated") {
            $0.addressSpaces[AddressSpaceID(rawValue: 2)]?.mappings[1].protectionKey = 3
        },
        Held(testDescription: "protection key of a thread on a CPU", verdict: .degraded, reason: "when it last came off") {
            $0.addressSpaces[AddressSpaceID(rawValue: 2)]?.mappings[1].protectionKey = 3
            $0.addressSpaces[AddressSpaceID(rawValue: 2)]?.protectionKeys = 0b1001
            $0.processes[0].threads[0].floatingPoint?.components[9] = [0, 0, 0, 0, 0, 0, 0, 0]
            $0.processes[0].threads[0].floatingPoint?.hasOldKeyRights = true
        },
    ]

    @Test(arguments: held) func isSaid(held: Held) {
        var group = SyntheticGroup().group
        #expect(GroupCheckpoint.assess(group).verdict < held.verdict)
        held.add(&group)
        let record = GroupCheckpoint.assess(group)
        #expect(record.verdict == held.verdict)
        let reasons = record.processes.flatMap(\.reasons)
        #expect(reasons.count { $0.contains(held.reason) } == 1, "\(reasons)")
    }

    @Test func strangersGetNoSignals() {
        var group = SyntheticGroup().group
        group.openFiles[FileID(rawValue: 3)]?.owner.pid = 4711
        group.openFiles[FileID(rawValue: 4)]?.owner.pid = UInt32(SyntheticGroup.worker)
        let plan = GroupPlan(group)
        #expect(plan.group.openFiles[FileID(rawValue: 3)]?.owner.pid == 0)
        #expect(plan.group.openFiles[FileID(rawValue: 4)]?.owner.pid == UInt32(SyntheticGroup.worker))
        #expect(plan.obstacles.count { $0.reason.contains("process 4711") } == 1)
    }

    /// CRIU leaves them out; the agent sets them, through a process that has the socket.
    @Test func optionsOfSocketsAreLeftToTheAgent() throws {
        var group = SyntheticGroup().group
        let before = GroupCheckpoint.assess(group)
        let option = LateSocketOption(name: "TCP_DEFER_ACCEPT", level: 6, number: 9, value: .number(3))
        guard case .inetSocket(var socket)? = group.openFiles[FileID(rawValue: 14)]?.kind else {
            Issue.record("file 14 is no socket")
            return
        }
        socket.options.late = [option]
        group.openFiles[FileID(rawValue: 14)]?.kind = .inetSocket(socket)
        let record = GroupCheckpoint.assess(group)
        #expect(record.verdict == before.verdict)
        #expect(record.sockets == [RecoveryManifest.Socket(pid: SyntheticGroup.worker, descriptor: 14, options: [option])])
        var manifest = RecoveryManifest(
            id: "r", guest: "main", kernel: "6.1", cause: "panic", crashedAt: 1, salvagedBy: .control)
        manifest.groups = [record]
        #expect(try RecoveryManifest(parsing: manifest.json.bytes(.compact)).groups == [record])
    }

    @Test func aWholeGroupWithoutHugePagesComesBackWithoutThem() {
        var group = SyntheticGroup().group
        let before = GroupCheckpoint.assess(group)
        #expect(!before.disablesHugePages)
        for id in group.addressSpaces.keys { group.addressSpaces[id]?.transparentHugePagesDisabled = true }
        let record = GroupCheckpoint.assess(group)
        #expect(record.disablesHugePages && record.verdict == before.verdict)
    }

    /// Memory that may only be executed has a key of the kernel's own, which every kernel gives it anew.
    @Test func keysOfMemoryThatIsOnlyExecutedAreTheKernels() {
        var group = SyntheticGroup().group
        let before = GroupCheckpoint.assess(group)
        group.addressSpaces[AddressSpaceID(rawValue: 2)]?.mappings[1].protectionKey = 1
        group.addressSpaces[AddressSpaceID(rawValue: 2)]?.mappings[1].protection = 4
        #expect(GroupCheckpoint.assess(group).verdict == before.verdict)
    }
}
