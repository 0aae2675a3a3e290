import ProcessModel
import Testing

@testable import Checkpoint

/// What the agent makes or fills, for CRIU would make it something else.
@Suite struct FilledFilesTests {
    private static let pipe = PipeID(rawValue: 1)
    private static let pieces = [
        Pipe.Piece(byteCount: 2, isPacket: true), Pipe.Piece(byteCount: 4, isPacket: false),
    ]

    @Test func packetsTravelBesideTheImages() throws {
        let scratch = ScratchDirectory()
        var sample = SyntheticGroup()
        sample.group.pipes[Self.pipe]?.pieces = Self.pieces
        let record = GroupCheckpoint.save(sample.group, pages: &sample.supply, toVolume: scratch.path)
        #expect(record.pipes.map(\.pid) == [SyntheticGroup.worker])
        #expect(record.pipes.map(\.descriptor) == [4], "of both ends the first")
        #expect(record.pipes.first?.pieces == Self.pieces)
        let images = "\(scratch.path)/groups/sample/images"
        #expect(try contents(of: "\(images)/packets-1.img") == Array("queued".utf8))
        let data = try ImageContents(parsing: contents(of: "\(images)/pipes-data.img"))
        // The pipe is there, with its capacity, and empty.
        #expect(data.entries.map { $0.message.number(2) } == [0])
        #expect(data.entries.map { $0.message.number(3) } == [65536])
    }

    @Test func packetsThatWouldJoinOthersRefuse() {
        func verdict(_ pieces: [(Int, isPacket: Bool)]) -> Verdict {
            var sample = SyntheticGroup()
            sample.group.pipes[Self.pipe]?.pieces = pieces.map { Pipe.Piece(byteCount: $0.0, isPacket: $0.isPacket) }
            return GroupCheckpoint.assess(sample.group).verdict
        }
        #expect(verdict([(3000, false), (2000, true)]) == .full)
        #expect(verdict([(4096, false), (2000, true)]) == .full)
        #expect(verdict([(1000, false), (2000, true)]) == .refused)
        #expect(verdict([(1000, true), (2000, true), (10, false)]) == .full)
    }

    @Test func packetsInAPipeThatNoProcessHasRefuse() {
        var sample = SyntheticGroup()
        sample.group.pipes[Self.pipe]?.pieces = Self.pieces
        let table = DescriptorTableID(rawValue: 2)
        sample.group.descriptorTables[table]?.descriptors.removeAll { [4, 5].contains($0.number) }
        guard case .unixSocket(var socket) = sample.group.openFiles[FileID(rawValue: 12)]?.kind else {
            Issue.record("there is no unix socket")
            return
        }
        socket.receiveQueue = [
            UnixSocket.Message(bytes: [1], files: [FileID(rawValue: 4), FileID(rawValue: 5)])
        ]
        sample.group.openFiles[FileID(rawValue: 12)]?.kind = .unixSocket(socket)
        let record = GroupCheckpoint.assess(sample.group)
        #expect(record.verdict == .refused)
        #expect(record.reasons.contains { $0.contains("on its way from one process to another") }, "\(record.reasons)")
    }

    @Test func semaphoresAreLentToCRIU() throws {
        let scratch = ScratchDirectory()
        var sample = SyntheticGroup()
        sample.group.openFiles[FileID(rawValue: 6)]?.kind = .eventfd(counter: .max - 1, isSemaphore: true)
        sample.group.openFiles[FileID(rawValue: 6)]?.flags = 0o4002
        let record = GroupCheckpoint.save(sample.group, pages: &sample.supply, toVolume: scratch.path)
        #expect(record.verdict == .full)
        #expect(
            record.lentFiles == [
                RecoveryManifest.LentFile(name: "xenpr-lent/6", flags: 0o4002, kind: .semaphore(counter: .max - 1))
            ])
        let files = try ImageContents(parsing: contents(of: "\(scratch.path)/groups/sample/images/files.img"))
        let entry = try #require(files.entries.first { $0.message.number(2) == 6 }).message
        // An entry of a regular file, with the name that CRIU has the open file by.
        #expect(entry.number(1) == 1)
        #expect(try entry.message(3)?.data(6) == Array("/xenpr-lent/6".utf8))
    }
}
