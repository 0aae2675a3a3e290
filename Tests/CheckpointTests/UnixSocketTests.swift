import GuestMemory
import ProcessModel
import Testing

@testable import Checkpoint

@Suite struct UnixSocketTests {
    /// The entries of the files image by their numbers, in the order of the image.
    private func files(of sample: inout SyntheticGroup, in scratch: ScratchDirectory) throws -> [(UInt64?, ProtobufFields)] {
        let record = GroupCheckpoint.save(sample.group, pages: &sample.supply, toVolume: scratch.path)
        #expect(record.verdict == .full, "\(record)")
        let image = try ImageContents(parsing: contents(of: "\(scratch.path)/groups/sample/images/files.img"))
        return image.entries.map { ($0.message.number(2), $0.message) }
    }

    private func give(_ numbers: ClosedRange<UInt32>, to sample: inout SyntheticGroup) {
        let added = numbers.map { Descriptor(number: Int32($0), file: FileID(rawValue: $0), closesOnExec: false) }
        sample.group.descriptorTables[DescriptorTableID(rawValue: 2)]?.descriptors += added
    }

    @Test func fileThatOnlyAMessageHoldsIsSaved() throws {
        let scratch = ScratchDirectory()
        var sample = SyntheticGroup()
        var left = UnixSocket(type: 1, state: .connected, inode: 901, peer: .inode(902))
        left.receiveQueue = [UnixSocket.Message(bytes: [7], files: [FileID(rawValue: 3)])]
        sample.add(12, .unixSocket(left), flags: 2)
        sample.group.descriptorTables[DescriptorTableID(rawValue: 2)]?.descriptors.removeAll { $0.number == 3 }
        #expect(try files(of: &sample, in: scratch).contains { $0.0 == 3 })
        let queues = try ImageContents(parsing: contents(of: "\(scratch.path)/groups/sample/images/sk-queues.img"))
        guard case .data(let control)? = queues.entries[0].message.fields.first(where: { $0.number == 4 })?.value else {
            Issue.record("no scm_entry")
            return
        }
        #expect(try ProtobufFields(parsing: control).numbers(2) == [3])
    }

    /// CRIU opens a file in the first process that has it, and sends it from the one that has the connection.
    @Test func fileThatAnotherProcessOpensIsLostOnItsWay() throws {
        let scratch = ScratchDirectory()
        var sample = SyntheticGroup()
        var left = UnixSocket(type: 1, state: .connected, inode: 901, peer: .inode(902))
        left.receiveQueue = [UnixSocket.Message(bytes: [7], files: [FileID(rawValue: 2)])]
        sample.add(12, .unixSocket(left), flags: 2)
        let record = GroupCheckpoint.save(sample.group, pages: &sample.supply, toVolume: scratch.path)
        #expect(record.verdict == .degraded)
        #expect(
            record.processes[1].reasons == [
                "descriptor 12: descriptors on their way through a unix socket are lost, for CRIU could not send them again"
            ])
        let queues = try ImageContents(parsing: contents(of: "\(scratch.path)/groups/sample/images/sk-queues.img"))
        #expect(!queues.entries[0].message.fields.contains { $0.number == 4 })
        #expect(queues.entries[0].payload == [7])
    }

    @Test func senderOfFilesIsTheLastOfItsPair() throws {
        let scratch = ScratchDirectory()
        for receiver: UInt32 in [12, 13] {
            var sample = SyntheticGroup()
            for (id, inode, peer) in [(UInt32(12), UInt64(901), UInt64(902)), (13, 902, 901)] {
                var socket = UnixSocket(type: 1, state: .connected, inode: inode, peer: .inode(peer))
                if id == receiver { socket.receiveQueue = [UnixSocket.Message(bytes: [7], files: [FileID(rawValue: 6)])] }
                sample.add(id, .unixSocket(socket), flags: 2)
            }
            let order = try files(of: &sample, in: scratch).compactMap(\.0).filter { $0 == 12 || $0 == 13 }
            #expect(order == [UInt64(receiver), UInt64(25 - receiver)])
            scratch.run("rm -rf", scratch.path + "/groups")
        }
    }

    @Test func socketComesAfterTheOneThatItIsConnectedTo() throws {
        let scratch = ScratchDirectory()
        var sample = SyntheticGroup()
        var server = UnixSocket(type: 2, state: .unconnected, inode: 921)
        server.address = UnixSocket.Address(name: KernelString(bytes: [0, 65]))
        sample.add(20, .unixSocket(UnixSocket(type: 2, state: .connected, inode: 920, peer: .inode(921))), flags: 2)
        sample.add(21, .unixSocket(server), flags: 2)
        give(20...21, to: &sample)
        let order = try files(of: &sample, in: scratch).compactMap(\.0)
        #expect(order.filter { $0 == 20 || $0 == 21 } == [21, 20])
    }

    @Test func pathCarriesItsZeroByteAndItsDirectory() throws {
        let scratch = ScratchDirectory()
        var sample = SyntheticGroup()
        var socket = UnixSocket(type: 1, state: .listening, inode: 930)
        socket.address = UnixSocket.Address(name: "sock")
        socket.address?.directory = "/run/app"
        sample.add(20, .unixSocket(socket), flags: 2)
        give(20...20, to: &sample)
        let entry = try #require(try files(of: &sample, in: scratch).first { $0.0 == 20 }?.1)
        guard case .data(let bytes)? = entry.fields.first(where: { $0.number == 16 })?.value else {
            Issue.record("no unix_sk_entry")
            return
        }
        let message = try ProtobufFields(parsing: bytes)
        #expect(message.fields.contains { $0.number == 11 && $0.value == .data(Array("sock\0".utf8)) })
        #expect(message.fields.contains { $0.number == 14 && $0.value == .data(Array("/run/app".utf8)) })
    }
}
