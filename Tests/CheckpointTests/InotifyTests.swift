import ProcessModel
import Testing

@testable import Checkpoint

@Suite struct InotifyTests {
    /// The synthetic group with an inotify instance in place of its signalfd.
    private func plan(_ watch: Inotify.Watch) -> (GroupPlan, FileAssessment?) {
        var sample = SyntheticGroup()
        let file = FileID(rawValue: 11)
        sample.group.openFiles[file]?.kind = .inotify(Inotify(watches: [watch], unreadEvents: 0))
        let plan = GroupPlan(sample.group)
        return (plan, plan.files.assessments[file])
    }

    @Test func aWatchOfARemovedFileThatIsOpenComesBackWithIt() throws {
        guard case .path(let removed) = SyntheticGroup().group.openFiles[FileID(rawValue: 9)]?.kind else {
            throw CheckpointError.model("no removed file")
        }
        var watch = Inotify.Watch(descriptor: 1, path: nil, device: removed.device, inode: removed.inode, mask: 8)
        let (whole, assessment) = plan(watch)
        #expect(assessment?.severity == nil)
        let entries = try whole.files.entries.map { try ProtobufFields(parsing: $0.bytes) }
        let instance = try #require(try entries.first { $0.number(1) == 8 }?.message(13))
        #expect(try instance.message(5)?.number(2) == removed.inode)
        #expect(try instance.message(5)?.message(7)?.data(4) == nil, "CRIU finds it among the files without a name")

        watch.inode += 1
        #expect(plan(watch).1?.severity == .degraded)
    }
}
