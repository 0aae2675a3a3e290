import ProcessModel

/// Options of sockets that CRIU leaves to the agent, which sets them through a descriptor of a process that has the socket (pidfd_getfd(2)).
struct LateSocketOptions: Sendable {
    private(set) var sockets: [RecoveryManifest.Socket] = []
    private(set) var obstacles: [Obstacle] = []

    init(_ group: ProtectedGroup, files: FileTable) {
        var waiting: [FileID: [LateSocketOption]] = [:]
        for (id, file) in group.openFiles where files.held.files.contains(id) && files.assessments[id]?.treatment == .asItWas {
            let options: [LateSocketOption] =
                switch file.kind {
                case .inetSocket(let socket): socket.options.late
                case .unixSocket(let socket): socket.options.late
                case .netlinkSocket(let socket): socket.options.late
                case .packetSocket(let socket): socket.options.late + socket.lateOptions
                default: []
                }
            if !options.isEmpty { waiting[id] = options }
        }
        let holders = group.holders(of: Set(waiting.keys))
        for (file, holder) in holders.sorted(by: { $0.key < $1.key }) {
            guard let options = waiting.removeValue(forKey: file) else { continue }
            sockets.append(RecoveryManifest.Socket(pid: holder.pid, descriptor: holder.descriptor, options: options))
        }
        // It is on its way from one process to another.
        for options in waiting.values {
            let names = options.map(\.name).joined(separator: ", ")
            obstacles.append(Obstacle(.degraded, pid: nil, reason: "\(names) is not set again on a socket that no process has"))
        }
    }
}
