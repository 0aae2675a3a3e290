import ProcessModel
import Testing

@testable import Checkpoint

@Suite struct FanotifyTests {
    private func sample(_ group: Fanotify, flags: UInt32 = 2) -> SyntheticGroup {
        var sample = SyntheticGroup()
        sample.add(20, .fanotify(group), flags: flags)
        sample.group.descriptorTables[DescriptorTableID(rawValue: 2)]?.descriptors.append(
            Descriptor(number: 20, file: FileID(rawValue: 20), closesOnExec: false))
        return sample
    }

    private func group(_ mark: Fanotify.Mark? = nil) -> Fanotify {
        var group = Fanotify(flags: 1, eventFlags: 0o100000)
        if let mark { group.marks = [mark] }
        return group
    }

    private func mark(path: KernelString?, inode: UInt64 = 77, mask: UInt32 = 8) -> Fanotify.Mark {
        var mark = Fanotify.Mark(target: .inode(inode, path: path), mask: mask)
        mark.device = 5
        return mark
    }

    @Test func marksAreWritten() throws {
        let scratch = ScratchDirectory()
        var watched = mark(path: "/srv/data")
        watched.ignoredMask = 0x20
        watched.survivesModification = true
        var group = group(watched)
        group.marks.append(Fanotify.Mark(target: .mount(29, path: "/srv/a mount"), mask: 0x10))
        // O_NONBLOCK, which fcntl has set since.
        var sample = sample(group, flags: 0o4002)
        let record = GroupCheckpoint.save(sample.group, pages: &sample.supply, toVolume: scratch.path)
        #expect(record.verdict == .full, "\(record)")
        #expect(record.requiredMounts == ["/srv/a mount"])
        let image = try ImageContents(parsing: contents(of: "\(scratch.path)/groups/sample/images/files.img"))
        let file = try #require(image.entries.first { $0.message.number(2) == 20 }?.message)
        #expect(file.number(1) == 12)
        let entry = try #require(try file.message(14))
        #expect([1, 4, 5].map { entry.number($0) } == [20, 1, 0o100000])
        let marks = try entry.messages(6)
        #expect(marks.map { mark in (1...6).map { mark.number($0) } } == [[20, 1, 0x40, 8, 0x20, 5], [20, 2, 0, 0x10, 0, 0]])
        let inode = try #require(try marks[0].message(7))
        #expect(inode.number(1) == 77)
        #expect(try inode.message(2)?.data(4) == Array("/srv/data".utf8))
        let mount = try #require(try marks[1].message(8))
        #expect(mount.number(1) == 29 && mount.data(2) == Array("/srv/a mount".utf8))
    }

    @Test func whatIsLostIsSaid() {
        var group = group(mark(path: nil))
        group.unreadEvents = 3
        group.unansweredRequests = 1
        group.isUnprivileged = true
        let record = GroupCheckpoint.assess(sample(group).group)
        #expect(record.verdict == .degraded)
        #expect(
            record.processes[1].reasons == [
                "descriptor 20: a fanotify group: 1 marks of removed files are lost, 3 events that were not read yet are lost, "
                    + "1 permission requests that it had not answered are made anew or lost, it is told more than an unprivileged one"
            ])
    }

    /// CRIU would not set them again, or wait for an answer of the group that it is just restoring.
    @Test(arguments: [
        Fanotify.Mark(target: .filesystem, mask: 8), Fanotify.Mark(target: .other, mask: 8),
        Fanotify.Mark(target: .mount(29, path: nil), mask: 8), Fanotify.Mark(target: .mount(29, path: "/"), mask: 0x1_0000),
        // The log that descriptor 3 leads to, and its directory.
        Fanotify.Mark(target: .inode(8, path: "/var/tmp/log"), mask: 0x2_0000),
        Fanotify.Mark(target: .inode(78, path: "/var/tmp"), mask: 0x1_0000),
    ])
    func whatCannotComeBackIsRefused(_ mark: Fanotify.Mark) {
        let record = GroupCheckpoint.assess(sample(group(mark)).group)
        #expect(record.verdict == .refused)
        #expect(record.processes[1].reasons.first?.hasPrefix("descriptor 20: a fanotify group with ") == true)
    }

    @Test func permissionsOfOtherFilesComeBack() {
        #expect(GroupCheckpoint.assess(sample(group(mark(path: "/srv/data", mask: 0x1_0000))).group).verdict == .full)
        var ignoring = mark(path: "/srv/data")
        ignoring.ignoresByFlags = true
        #expect(GroupCheckpoint.assess(sample(group(ignoring)).group).verdict == .refused)
    }
}
