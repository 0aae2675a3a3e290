import GuestMemory
import ProcessModel
import Testing

@testable import Checkpoint

@Suite struct TCPConnectionTests {
    private static let established: UInt32 = 1
    private static let closeWait: UInt32 = 8
    private static let lastAck: UInt32 = 9

    private func socket(_ inode: UInt64, from source: UInt16, to destination: UInt16, state: UInt32 = established) -> InetSocket
    {
        var socket = InetSocket(family: 2, type: 1, transport: 6, state: .established, inode: inode)
        socket.sourceAddress = [127, 0, 0, 1]
        socket.sourcePort = source
        socket.destinationAddress = [127, 0, 0, 1]
        socket.destinationPort = destination
        var connection = TCPConnection(state: state)
        connection.receiveQueue = Array("unread".utf8)
        connection.sendQueue = Array("sent, unsent".utf8)
        connection.unsentBytes = 6
        connection.receiveNext = 7
        connection.usesTimestamps = true
        socket.connection = connection
        return socket
    }

    /// The group with these sockets as descriptors of its worker.
    private func group(_ sockets: [InetSocket]) -> SyntheticGroup {
        var sample = SyntheticGroup()
        for (index, socket) in sockets.enumerated() {
            let number = UInt32(20 + index)
            sample.add(number, .inetSocket(socket), flags: 2)
            sample.group.descriptorTables[DescriptorTableID(rawValue: 2)]?.descriptors.append(
                Descriptor(number: Int32(number), file: FileID(rawValue: number), closesOnExec: false))
        }
        return sample
    }

    @Test func bothEndsAreSavedWithTheirQueues() throws {
        let scratch = ScratchDirectory()
        var sample = group([socket(0xa1, from: 7000, to: 40000), socket(0xa2, from: 40000, to: 7000)])
        let record = GroupCheckpoint.save(sample.group, pages: &sample.supply, toVolume: scratch.path)
        #expect(record.verdict == .full, "\(record)")
        #expect(
            record.connections == [
                RecoveryManifest.Connection(source: 7000, destination: 40000),
                RecoveryManifest.Connection(source: 40000, destination: 7000),
            ])
        let bytes = try contents(of: "\(scratch.path)/groups/sample/images/tcp-stream-a1.img")
        #expect(bytes.suffix(18) == Array("unreadsent, unsent".utf8)[...])
        #expect(SocketImage.stream(try #require(socket(0xa1, from: 1, to: 2).connection)).bytes.count < bytes.count - 18)
    }

    @Test func inANamespaceOfTheirOwnTheImagesLockThem() throws {
        let scratch = ScratchDirectory()
        var sample = group([socket(0xa1, from: 7000, to: 40000), socket(0xa2, from: 40000, to: 7000)])
        sample.group.initNamespaces.network = 1
        sample.group.networkNamespaces[77] = NetworkNamespace()
        for index in sample.group.processes.indices { sample.group.processes[index].namespaces.network = 77 }
        let record = GroupCheckpoint.save(sample.group, pages: &sample.supply, toVolume: scratch.path)
        #expect(record.verdict == .full && record.hasNetworkNamespace && record.connections.count == 2, "\(record)")
        let rules = try contents(of: "\(scratch.path)/groups/sample/images/nftables-12.img")
        #expect(String(decoding: rules, as: UTF8.self).hasPrefix("table inet xenpr-lock {\n"))
    }

    @Test func connectionWithoutItsOtherEndIsCut() {
        let record = GroupCheckpoint.assess(group([socket(0xa1, from: 7000, to: 40000)]).group)
        #expect(record.verdict == .degraded && record.connections.isEmpty, "\(record)")
    }

    @Test func connectionToAnotherMachineIsCut() {
        var outside = socket(0xa1, from: 7000, to: 40000)
        outside.sourceAddress = [10, 0, 0, 2]
        outside.destinationAddress = [10, 0, 0, 3]
        #expect(GroupCheckpoint.assess(group([outside]).group).verdict == .degraded)
    }

    @Test func whatTheOtherEndHasFinishedNeedsNoOtherEnd() {
        var left = socket(0xa1, from: 7000, to: 40000, state: Self.closeWait)
        #expect(GroupCheckpoint.assess(group([left]).group).verdict == .degraded)
        left.connection?.sendQueue = []
        left.connection?.unsentBytes = 0
        #expect(GroupCheckpoint.assess(group([left]).group).verdict == .full)
        left.connection?.state = Self.lastAck
        #expect(GroupCheckpoint.assess(group([left]).group).verdict == .full)
    }

    @Test func writeThatWasUnderWayIsTold() {
        var sample = group([socket(0xa1, from: 7000, to: 40000), socket(0xa2, from: 40000, to: 7000)])
        for index in sample.group.processes.indices where sample.group.processes[index].pid == SyntheticGroup.worker {
            sample.group.processes[index].threads[0].registers.ax = UInt64(bitPattern: -38)
            sample.group.processes[index].threads[0].registers.origAX = 1
            sample.group.processes[index].threads[0].registers.di = 20
        }
        let record = GroupCheckpoint.assess(sample.group)
        #expect(record.verdict == .degraded, "\(record)")
        #expect(record.processes.contains { $0.reasons.contains { $0.contains("written again") } })
    }
}
