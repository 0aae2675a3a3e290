import ProcessModel

/// Which files in the queues of unix sockets CRIU can send again.
///
/// It opens them in the process that the sender's end is the first of (unix_note_scm_rights of criu/sk-unix.c), and sends them from the process that opens the
/// connection. When that is another one, the numbers are those of other files. And when a file is not yet open at the second look at the
/// connection, CRIU takes the connection for complete, and the whole queue is lost without an error (post_open_interconnected_master).
struct FileFlights: Sendable {
    private(set) var unsendable: Set<FileID> = []
    /// Receivers in the order in which their senders become known.
    private(set) var order: [FileID] = []

    private struct Flight {
        var receiver: FileID
        var sender: FileID
        var files: [FileID]
        /// The process that sends.
        var pid: Int32 = 0
    }

    private let group: ProtectedGroup
    private let held: FilesHeld
    private let assessor: FileAssessor
    /// The process that opens a file: the first that has it.
    private var openers: [FileID: Int32] = [:]

    init(_ held: FilesHeld, in group: ProtectedGroup, without cut: Set<FileID>, _ assessor: FileAssessor) {
        self.group = group
        self.held = held
        self.assessor = assessor
        var waiting: [Flight] = []
        for id in held.order where !cut.contains(id) {
            guard case .unixSocket(let socket) = group.openFiles[id]?.kind, socket.carriesFiles else { continue }
            if let sender = partner(of: socket) {
                waiting.append(Flight(receiver: id, sender: sender, files: socket.receiveQueue.flatMap(\.files)))
            } else {
                unsendable.insert(id)
            }
        }
        guard !waiting.isEmpty else { return }
        for process in group.processes {
            for descriptor in process.descriptorTable.flatMap({ group.descriptorTables[$0] })?.descriptors ?? [] {
                openers[descriptor.file] = min(openers[descriptor.file] ?? .max, process.pid)
            }
        }
        var flights: [Flight] = []
        while let index = waiting.firstIndex(where: { openers[$0.sender] != nil }) {
            var flight = waiting.remove(at: index)
            flight.pid = openers[flight.sender] ?? 0
            flights.append(flight)
            for file in flight.files { openers[file] = min(openers[file] ?? .max, flight.pid) }
        }
        order = flights.map(\.receiver)
        // Those whose sender would have to come out of a message that it sends itself.
        unsendable.formUnion(waiting.map(\.receiver))
        let senders = Dictionary(uniqueKeysWithValues: flights.map { ($0.receiver, $0.pid) })
        for flight in flights {
            let isSafe =
                openers[flight.sender] == flight.pid && senders[flight.sender] ?? flight.pid == flight.pid
                && flight.files.allSatisfy { opensAtOnce($0, in: flight.pid) }
            if !isSafe { unsendable.insert(flight.receiver) }
        }
    }

    /// The socket that is connected to this one and this one to it: find_queuer_for of criu/sk-unix.c knows no other sender.
    private func partner(of socket: UnixSocket) -> FileID? {
        guard let inode = assessor.peer(of: socket) else { return nil }
        return held.order.first { id in
            guard case .unixSocket(let other) = group.openFiles[id]?.kind, other.inode == inode else { return false }
            return assessor.peer(of: other) == socket.inode
        }
    }

    /// Whether a file is open after CRIU's first walk through the descriptors of a process, waiting for no other process and no other file.
    private func opensAtOnce(_ id: FileID, in pid: Int32) -> Bool {
        guard openers[id] == pid, let file = group.openFiles[id] else { return false }
        switch file.kind {
        case .path, .eventfd, .timerfd, .signalfd, .memfd, .epoll, .inetSocket: return true
        case .pipe(let pipe):
            // The first end makes the pipe and hands the others out.
            return held.files.allSatisfy { other in
                guard case .pipe(pipe) = group.openFiles[other]?.kind else { return true }
                return openers[other] ?? .max >= pid
            }
        case .unixSocket(let socket):
            guard assessor.peer(of: socket) != nil else { return true }
            return partner(of: socket).map { openers[$0] == pid } ?? false
        default: return false
        }
    }
}
