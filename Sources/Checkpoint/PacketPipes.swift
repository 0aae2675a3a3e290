import GuestMemory
import ProcessModel

/// Pipes in which packets wait (O_DIRECT of pipe(2)). CRIU puts what was in a pipe into it as bytes, of which a read would take as many as it asks for; so the agent
/// writes packet after packet, through a descriptor of a process that has the pipe, before the processes go on.
struct PacketPipes: Sendable {
    private(set) var pipes: [RecoveryManifest.Pipe] = []
    /// Of which pipe each of them tells.
    private(set) var ids: [PipeID] = []
    private(set) var obstacles: [Obstacle] = []

    init(_ group: ProtectedGroup, files: FileTable) {
        let ends = files.held.files.filter { id in
            guard files.assessments[id]?.treatment == .asItWas, let pipe = Self.pipe(group.openFiles[id]) else { return false }
            return group.pipes[pipe]?.pieces.isEmpty == false
        }
        for (end, holder) in group.holders(of: ends).sorted(by: { $0.key < $1.key }) {
            // One end of each is enough.
            guard let id = Self.pipe(group.openFiles[end]), let pipe = group.pipes[id], !ids.contains(id) else { continue }
            ids.append(id)
            if Self.wouldMerge(pipe.pieces) {
                obstacles.append(
                    Obstacle(.refused, pid: nil, reason: "a packet waits in a pipe behind bytes that it would join"))
            }
            pipes.append(
                RecoveryManifest.Pipe(
                    pid: holder.pid, descriptor: holder.descriptor, contents: "packets-\(id.rawValue)", pieces: pipe.pieces))
        }
        if ends.contains(where: { Self.pipe(group.openFiles[$0]).map { !ids.contains($0) } ?? false }) {
            obstacles.append(
                Obstacle(.refused, pid: nil, reason: "packets wait in a pipe that is on its way from one process to another"))
        }
    }

    /// Whether the kernel would put a packet into the page of the bytes before it, as it does with all that has room there (pipe_write of fs/pipe.c); where these begin in
    /// their page, they begin at its start when they are written again.
    private static func wouldMerge(_ pieces: [Pipe.Piece]) -> Bool {
        zip(pieces, pieces.dropFirst()).contains { before, packet in
            let used = before.byteCount % FrameNumber.size
            return !before.isPacket && packet.isPacket && used != 0 && used + packet.byteCount <= FrameNumber.size
        }
    }

    private static func pipe(_ file: OpenFile?) -> PipeID? {
        switch file?.kind {
        case .pipe(let pipe), .fifo(_, let pipe): pipe
        default: nil
        }
    }
}

extension ProtectedGroup {
    /// A descriptor of a process for each of the files that has one.
    func holders(of files: Set<FileID>) -> [FileID: (pid: Int32, descriptor: Int32)] {
        var found: [FileID: (pid: Int32, descriptor: Int32)] = [:]
        guard !files.isEmpty else { return found }
        for process in processes {
            for descriptor in process.descriptorTable.flatMap({ descriptorTables[$0] })?.descriptors ?? []
            where files.contains(descriptor.file) && found[descriptor.file] == nil {
                found[descriptor.file] = (process.pid, descriptor.number)
            }
        }
        return found
    }
}
