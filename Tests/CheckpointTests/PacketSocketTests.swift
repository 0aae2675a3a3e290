import GuestMemory
import ProcessModel
import Testing

@testable import Checkpoint

@Suite struct PacketSocketTests {
    private static let loopback = PacketSocket.Device(number: 1, name: "lo")
    private static let network = PacketSocket.Device(number: 2, name: "eth0")

    private func sample(_ socket: PacketSocket) -> SyntheticGroup {
        var sample = SyntheticGroup()
        sample.add(20, .packetSocket(socket), flags: 2)
        sample.group.descriptorTables[DescriptorTableID(rawValue: 2)]?.descriptors.append(
            Descriptor(number: 20, file: FileID(rawValue: 20), closesOnExec: false))
        return sample
    }

    private func socket(_ change: (inout PacketSocket) -> Void = { _ in }) -> PacketSocket {
        var socket = PacketSocket(type: 3, inode: 950)
        // htons(ETH_P_ALL)
        socket.transport = 0x0300
        socket.device = Self.loopback
        change(&socket)
        return socket
    }

    private static func ring(position: UInt32 = 0, waiting: UInt32 = 0) -> PacketSocket.Ring {
        var ring = PacketSocket.Ring(blockBytes: 8192, blockCount: 2, frameBytes: 2048, frameCount: 8)
        ring.retireMilliseconds = 60
        ring.position = position
        ring.waitingPackets = waiting
        return ring
    }

    private func mapped(_ socket: PacketSocket, bytes: UInt64, table: UInt32 = 2) -> SyntheticGroup {
        var sample = sample(socket)
        let start: UInt64 = 0x7ffd_0000_0000
        let mapping = Mapping(
            start: VirtualAddress(start), end: VirtualAddress(start + bytes), offsetBytes: 0, protection: 3,
            kind: .packetRing(FileID(rawValue: 20), isPrivate: false))
        // Between the heap and the shared memory.
        sample.group.addressSpaces[AddressSpaceID(rawValue: table)]?.mappings.insert(mapping, at: 2)
        return sample
    }

    @Test func everythingIsWritten() throws {
        let scratch = ScratchDirectory()
        var sample = sample(
            socket {
                $0.version = 2
                $0.reservedBytes = 32
                $0.hasAuxiliaryData = true
                $0.dropsMalformed = true
                $0.virtualHeaderBytes = 10
                $0.memberships = [
                    PacketSocket.Membership(device: Self.loopback, type: 0, address: [1, 0, 0x5e, 1, 2, 3], count: 2),
                    PacketSocket.Membership(device: Self.loopback, type: 1, address: [0, 0, 0, 0, 0, 0]),
                ]
                $0.fanout = PacketSocket.Fanout(id: 0x1234, type: 2, flags: 0x10, members: 1)
                $0.receiveRing = Self.ring()
                $0.ignoresOutgoing = true
            })
        let record = GroupCheckpoint.save(sample.group, pages: &sample.supply, toVolume: scratch.path)
        #expect(record.verdict == .full, "\(record)")
        #expect(record.requiredDevices.isEmpty)
        #expect(record.sockets.first?.options.map(\.name) == ["PACKET_IGNORE_OUTGOING"])
        #expect(record.processes[1].sockets == 4)
        let image = try ImageContents(parsing: contents(of: "\(scratch.path)/groups/sample/images/files.img"))
        let file = try #require(image.entries.first { $0.message.number(2) == 20 }?.message)
        #expect(file.number(1) == 10)
        let entry = try #require(try file.message(6))
        #expect([1, 2, 3, 5, 8, 9, 10, 11, 12, 13].map { entry.number($0) } == [20, 3, 0x0300, 1, 2, 32, 1, 0, 1, 1])
        #expect(entry.number(17) == 0x1002_1234)
        let memberships = try entry.messages(16)
        #expect(memberships.map { $0.number(2) } == [0, 0, 1])
        #expect(memberships.map { $0.data(3) } == [[1, 0, 0x5e, 1, 2, 3], [1, 0, 0x5e, 1, 2, 3], []])
        let ring = try #require(try entry.message(18))
        #expect((1...7).map { ring.number($0) } == [8192, 2, 2048, 8, 60, 0, 0])
        #expect(try entry.message(19) == nil)
    }

    @Test func mappedRingIsAnAreaOfItsSocket() throws {
        let scratch = ScratchDirectory()
        var sample = mapped(socket { $0.receiveRing = Self.ring() }, bytes: 16384)
        let record = GroupCheckpoint.save(sample.group, pages: &sample.supply, toVolume: scratch.path)
        #expect(record.verdict == .full, "\(record)")
        let image = try ImageContents(parsing: contents(of: "\(scratch.path)/groups/sample/images/mm-2001.img"))
        let areas = try #require(try image.entries.first?.message.messages(14))
        let area = try #require(areas.first { $0.number(1) == 0x7ffd_0000_0000 })
        // The socket's entry, MAP_SHARED, VMA_AREA_REGULAR and VMA_AREA_SOCKET.
        #expect([4, 6, 7].map { area.number($0) } == [20, 1, 0x801])
    }

    /// The kernel maps a ring as a whole only, and CRIU wants a descriptor of the same process.
    @Test func aRingThatCannotBeMappedRefuses() {
        let ringed = socket { $0.receiveRing = Self.ring() }
        #expect(GroupCheckpoint.assess(mapped(ringed, bytes: 8192).group).verdict == .refused)
        #expect(GroupCheckpoint.assess(mapped(ringed, bytes: 16384, table: 1).group).verdict == .refused)
    }

    @Test func whatIsLostIsSaid() {
        let record = GroupCheckpoint.assess(
            sample(
                socket {
                    $0.queuedPackets = 3
                    $0.receiveRing = Self.ring(position: 5, waiting: 4)
                    $0.device = Self.network
                    $0.options.pendingError = 100
                }
            ).group)
        #expect(record.verdict == .degraded)
        #expect(record.requiredDevices == [RecoveryManifest.Device(name: "eth0", number: 2)])
        #expect(
            record.processes[1].reasons == [
                "descriptor 20: a packet socket: 3 received packets are lost, 4 packets in its ring are lost, its ring begins anew, "
                    + "so the program, which the kernel had left at 5, finds packets out of order, it is told that eth0 is down if that comes up "
                    + "later, error 100 is no longer reported"
            ])
    }

    @Test(
        arguments: [
            { $0.type = 5 }, { $0.options.hasUnsavedFilter = true }, { $0.device = PacketSocket.Device(number: -1, name: nil) },
            { $0.sendRing = ring(position: 1) }, { $0.sendRing = ring(waiting: 1) },
            { $0.fanout = PacketSocket.Fanout(id: 1, type: 7, flags: 0, members: 1) },
            {
                $0.device = network
                $0.fanout = PacketSocket.Fanout(id: 1, type: 0, flags: 0, members: 1)
            },
            { $0.memberships = [PacketSocket.Membership(device: loopback, type: 9, address: [])] },
            {
                $0.type = 10
                $0.receiveRing = ring()
            },
            {
                $0.sendRing = ring()
                $0.hasSendOffsets = true
            },
        ] as [@Sendable (inout PacketSocket) -> Void])
    func whatCannotComeBackIsRefused(_ change: @Sendable (inout PacketSocket) -> Void) {
        let record = GroupCheckpoint.assess(sample(socket(change)).group)
        #expect(record.verdict == .refused)
        #expect(record.processes[1].reasons.first?.hasPrefix("descriptor 20: a packet socket ") == true)
    }
}
