import ProcessModel
import Testing

@testable import Checkpoint

@Suite struct CallsAtWorkTests {
    /// The verdict over the group whose worker is in a call on a descriptor of this kind.
    private func verdict(
        _ number: UInt64, on kind: OpenFile.Kind, flags: UInt32 = 2, _ stage: InterruptedCall.Stage = .preempted,
        second: UInt64 = 0, length: UInt64 = 100, transferred: UInt64? = nil, progress: InterruptedCall.Progress? = nil
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
        sample.group.processes[worker].threads[0].interruptedCall.progress = progress
        sample.group.processes[worker].threads[0].registers.si = second
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

    /// io_getevents: who waits for one result has taken none, who waits for several may have.
    @Test func whoWaitsForSeveralResultsIsTold() throws {
        #expect(try verdict(208, on: file, .asleep, second: 1) == .full)
        #expect(try verdict(208, on: file, .asleep, second: 2) == .degraded)
        #expect(try verdict(208, on: file, .preempted, second: 1) == .degraded)
    }

    @Test func aMappingThatWasBeingMovedRefuses() throws {
        #expect(try verdict(25, on: file, .preempted) == .refused)
        #expect(try verdict(25, on: file, .onCPU) == .refused)
        #expect(try verdict(25, on: file, .asleep) == .full)
    }

    /// close, clone, rename, unlink: what is known of them says the thread's progress.
    @Test(arguments: [UInt64(3), 56, 82, 87]) func whatChangesNamesOrStartsProcessesIsSaidOnlyWhereItIsUncertain(number: UInt64)
        throws
    {
        #expect(try verdict(number, on: file, progress: .pending) == .full)
        #expect(try verdict(number, on: file, progress: .complete(result: 0)) == .full)
        #expect(try verdict(number, on: file, progress: .uncertain) == .degraded)
    }
}
