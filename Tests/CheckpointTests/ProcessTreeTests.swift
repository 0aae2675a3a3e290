import ProcessModel
import Testing

@testable import Checkpoint

@Suite struct ProcessTreeTests {
    private func process(_ pid: Int32, _ parent: Int32, session: Int32, group: Int32? = nil) -> DeadProcess {
        DeadProcess(
            pid: pid, parentPID: parent, processGroupID: group ?? session, sessionID: session, state: .running, command: "p")
    }

    private func reasons(_ processes: [DeadProcess]) -> [String] { ProcessTree(processes).obstacles.map(\.reason) }

    @Test func parentsComeFirst() {
        let tree = ProcessTree([process(30, 20, session: 10), process(20, 10, session: 10), process(10, 1, session: 10)])
        #expect(tree.ordered.map(\.pid) == [10, 20, 30] && tree.obstacles.isEmpty)
        #expect(tree.largestPID == 30)
    }

    /// A daemon that forked twice: its session's leader 15 is dead, and it was given to the root.
    @Test func doubleForkedDaemonUnderTheRoot() {
        #expect(
            reasons([process(10, 1, session: 10), process(16, 10, session: 15), process(17, 16, session: 15, group: 12)])
                .isEmpty)
    }

    @Test func whatCRIUCannotRebuild() {
        #expect(reasons([process(10, 1, session: 9)]).count == 1)
        #expect(reasons([process(10, 1, session: 10), process(11, 1, session: 10)]).count == 1)
        #expect(reasons([process(10, 1, session: 10), process(11, 10, session: 11), process(12, 11, session: 8)]).count == 1)
        #expect(reasons([]).count == 1)
    }

    @Test func cyclesAndDoublesEnd() {
        #expect(!reasons([process(10, 11, session: 10), process(11, 10, session: 10)]).isEmpty)
        #expect(!reasons([process(10, 1, session: 10), process(10, 1, session: 10)]).isEmpty)
        #expect(!reasons([process(9, 1, session: 9), process(10, 11, session: 10), process(11, 10, session: 10)]).isEmpty)
    }
}
