import Glibc

extension GroupRestore {
    /// Fills pipes with the packets that waited in them (O_DIRECT). Returns what could not be done.
    func completePipes() -> [String] {
        guard !group.pipes.isEmpty else { return [] }
        guard let cgroup = try? ControlGroup(group.name) else { return ["packets in its pipes are lost"] }
        let threads = GuestThreads(group, in: cgroup)
        return group.pipes.compactMap { pipe in
            do throws(AgentError) {
                try fill(pipe, threads)
                return nil
            } catch {
                return "packets in the pipe that is descriptor \(pipe.descriptor) of process \(pipe.pid) are lost: \(error)"
            }
        }
    }

    /// O_DIRECT (include/uapi/asm-generic/fcntl.h).
    private static let keepsPackets: Int32 = 0o40000

    private func fill(_ pipe: RecoveryManifest.Pipe, _ threads: GuestThreads) throws(AgentError) {
        let contents = try readFile("\(directory)/images/\(pipe.contents).img")
        let holder = try threads.descriptor(pipe.descriptor, of: pipe.pid)
        // An end of the agent's own, whose flags are nobody else's. Open for both it waits for no other end.
        guard let status = System.status(holder.number), status.st_mode & S_IFMT == S_IFIFO,
            let end = Descriptor(taking: System.open("/proc/self/fd/\(holder.number)", O_RDWR | O_NONBLOCK))
        else { throw AgentError(description: "it is none") }
        var rest = contents[...]
        for piece in pipe.pieces {
            // A mode that open(2) does not take for a named pipe.
            guard piece.byteCount > 0, rest.count >= piece.byteCount,
                fcntl(end.number, F_SETFL, O_NONBLOCK | (piece.isPacket ? Self.keepsPackets : 0)) == 0
            else { throw AgentError(description: "they are not in \(pipe.contents).img") }
            let bytes = Array(rest.prefix(piece.byteCount))
            guard System.write(end.number, bytes) == bytes.count else { throw systemError("cannot write them") }
            rest = rest.dropFirst(piece.byteCount)
        }
    }
}
