import ProcessModel

/// The open files of a group that descriptors lead to, directly or through messages that wait in unix sockets.
struct FilesHeld: Sendable {
    let files: Set<FileID>
    /// The files in the order in which they stand in the image.
    let order: [FileID]
    /// Of files that only messages hold: the file of a descriptor that they wait behind, and the socket that receives them.
    private(set) var receivers: [FileID: (holder: FileID, receiver: FileID)] = [:]
    /// Sockets that lose the files in their queue, for CRIU cannot send them again.
    private(set) var unsendable: Set<FileID> = []
    /// Sockets with files in their queue, so that each one's sender is known before it: CRIU goes through the queues once.
    private(set) var queueOrder: [FileID] = []

    /// A socket that is cut off loses its queue, and what only that held is held by nobody: CRIU trips over a pipe or socket without a holder.
    init(in group: ProtectedGroup, descriptors: Set<FileID>) {
        var cut: Set<FileID> = []
        var lost: Set<FileID> = []
        while true {
            var held = FilesHeld(in: group, descriptors: descriptors, without: cut)
            let assessor = FileAssessor(group, held: held.files)
            var more = held.files.filter { id in
                guard !cut.contains(id), let file = group.openFiles[id], case .unixSocket(let socket) = file.kind else {
                    return false
                }
                return assessor.assess(file, id: id).treatment != .asItWas || !assessor.keepsQueue(socket)
            }
            if more.isEmpty {
                let flights = FileFlights(held, in: group, without: cut, assessor)
                more = flights.unsendable
                lost.formUnion(more)
                held.queueOrder = flights.order
            }
            if more.isEmpty {
                held.unsendable = lost
                self = held
                return
            }
            cut.formUnion(more)
        }
    }

    private init(in group: ProtectedGroup, descriptors: Set<FileID>, without cut: Set<FileID>) {
        var files = descriptors
        var rest = descriptors.sorted()
        while let id = rest.popLast() {
            guard !cut.contains(id), case .unixSocket(let socket) = group.openFiles[id]?.kind else { continue }
            for file in socket.receiveQueue.flatMap(\.files) where files.insert(file).inserted {
                receivers[file] = (receivers[id]?.holder ?? id, id)
                rest.append(file)
            }
        }
        self.files = files
        order = Self.ordered(files, in: group, without: cut)
    }

    /// CRIU reads the image once: a unix socket must come after the one that it is connected to, unless that is connected to it in turn ("Peer
    /// unresolved"). Of the clients of a listening socket the first fills the queue. Of two that are connected to each other the process that has the
    /// last opens both (interconnected_pair), so that must be the one that sends files.
    private static func ordered(_ files: Set<FileID>, in group: ProtectedGroup, without cut: Set<FileID>) -> [FileID] {
        var byInode: [UInt64: FileID] = [:]
        var sockets: [FileID: UnixSocket] = [:]
        for id in files.sorted() {
            guard case .unixSocket(let socket) = group.openFiles[id]?.kind else { continue }
            byInode[socket.inode] = id
            sockets[id] = socket
        }
        func getsFiles(_ id: FileID) -> Bool { !cut.contains(id) && sockets[id]?.carriesFiles == true }
        var result: [FileID] = []
        var placed: Set<FileID> = []
        let first = files.filter { sockets[$0]?.hasSentBeforeAccept == true }.sorted()
        for id in first + files.sorted() {
            var chain: [FileID] = []
            var next: FileID? = id
            while let current = next, placed.insert(current).inserted {
                chain.append(current)
                next = nil
                if case .inode(let peer) = sockets[current]?.peer { next = byInode[peer] }
            }
            chain.reverse()
            if chain.count > 1, let end = sockets[chain[0]], end.peer == (sockets[chain[1]]?.inode).map({ .inode($0) }),
                getsFiles(chain[1]), !getsFiles(chain[0])
            {
                chain.swapAt(0, 1)
            }
            result += chain
        }
        return result
    }
}

extension UnixSocket {
    var carriesFiles: Bool { receiveQueue.contains { !$0.files.isEmpty } }
}
