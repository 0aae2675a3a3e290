import ProcessModel
import Testing

@testable import Checkpoint

@Suite struct PreemptedCallTests {
    /// The verdict over the group whose worker is in a call on a descriptor of this kind.
    private func verdict(_ number: UInt64, on kind: OpenFile.Kind, flags: UInt32 = 2, preempted: Bool = true) throws -> Verdict
    {
        var sample = SyntheticGroup()
        sample.add(20, kind, flags: flags)
        sample.group.descriptorTables[DescriptorTableID(rawValue: 2)]?.descriptors.append(
            Descriptor(number: 20, file: FileID(rawValue: 20), closesOnExec: false))
        let worker = try #require(sample.group.processes.firstIndex { $0.pid == SyntheticGroup.worker })
        sample.group.processes[worker].threads[0].registers.origAX = number
        sample.group.processes[worker].threads[0].registers.ax = UInt64(bitPattern: -38)
        sample.group.processes[worker].threads[0].registers.di = 20
        sample.group.processes[worker].threads[0].interruptedCall.wasPreempted = preempted
        return GroupCheckpoint.assess(sample.group).verdict
    }

    private let pipe = OpenFile.Kind.pipe(PipeID(rawValue: 1))
    private let file = OpenFile.Kind.path(
        FileNode(path: "/var/tmp/log", type: .regular, inode: 8, mode: 0o100644, sizeBytes: 77))

    @Test func aTransferThatMayBeDoneTwiceIsSaid() throws {
        #expect(try verdict(0, on: pipe) == .degraded)
        #expect(try verdict(1, on: pipe) == .degraded)
        #expect(try verdict(1, on: file, flags: 0o102001) == .degraded)
    }

    @Test func whatWaitsOrIsTheSameTwiceIsNot() throws {
        #expect(try verdict(1, on: pipe, preempted: false) == .full)
        #expect(try verdict(0, on: file) == .full)
        #expect(try verdict(1, on: file) == .full)
        #expect(try verdict(39, on: pipe) == .full)
    }
}
