import ProcessModel
import Testing

@testable import Checkpoint

@Suite struct CallsAtWorkTests {
    /// The verdict over the group whose worker is in a call on a descriptor of this kind.
    private func verdict(
        _ number: UInt64, on kind: OpenFile.Kind, flags: UInt32 = 2, _ stage: InterruptedCall.Stage = .preempted,
        length: UInt64 = 100, transferred: UInt64? = nil
    ) throws -> Verdict {
        var sample = SyntheticGroup()
        sample.add(20, kind, flags: flags)
        sample.group.descriptorTables[DescriptorTableID(rawValue: 2)]?.descriptors.append(
            Descriptor(number: 20, file: FileID(rawValue: 20), closesOnExec: false))
        let worker = try #require(sample.group.processes.firstIndex { $0.pid == SyntheticGroup.worker })
        sample.group.processes[worker].threads[0].registers.origAX = number
        sample.group.processes[worker].threads[0].registers.ax = UInt64(bitPattern: -38)
        sample.group.processes[worker].threads[0].registers.di = 20
        sample.group.processes[worker].threads[0].interruptedCall.stage = stage
        sample.group.processes[worker].threads[0].interruptedCall.transferredBytes = transferred
        sample.group.processes[worker].threads[0].registers.dx = length
        return GroupCheckpoint.assess(sample.group).verdict
    }

    private let pipe = OpenFile.Kind.pipe(PipeID(rawValue: 1))
    private let file = OpenFile.Kind.path(
        FileNode(path: "/var/tmp/log", type: .regular, inode: 8, mode: 0o100644, sizeBytes: 77))

    @Test func aTransferThatMayBeDoneTwiceIsSaid() throws {
        #expect(try verdict(0, on: pipe) == .degraded)
        #expect(try verdict(1, on: pipe) == .degraded)
        #expect(try verdict(1, on: pipe, .onCPU) == .degraded)
        #expect(try verdict(1, on: pipe, .asleep, length: 100_000) == .degraded)
        #expect(try verdict(1, on: file, flags: 0o102001) == .degraded)
    }

    @Test func whatWaitsOrIsTheSameTwiceIsNot() throws {
        #expect(try verdict(1, on: pipe, .asleep) == .full)
        #expect(try verdict(0, on: pipe, .woken, length: 100_000) == .full)
        #expect(try verdict(1, on: pipe, .onCPU, transferred: 0) == .full)
        #expect(try verdict(1, on: pipe, .asleep, length: 100_000, transferred: 65_536) == .full)
        #expect(try verdict(1, on: file, .asleep, length: 100_000) == .full)
        #expect(try verdict(0, on: file) == .full)
        #expect(try verdict(1, on: file) == .full)
        #expect(try verdict(39, on: pipe) == .full)
    }
}
