import ProcessModel

/// The open files of a group that descriptors lead to, directly or through messages that wait in unix sockets.
struct FilesHeld: Sendable {
    let files: Set<FileID>
    /// Of files that only messages hold: the descriptor's file that they wait behind, and their receiver.
    private(set) var receivers: [FileID: (holder: FileID, receiver: FileID)] = [:]

    /// A socket that is cut off loses its queue, and what only that held is held by nobody: CRIU trips over a pipe or socket without a holder.
    init(in group: ProtectedGroup, descriptors: Set<FileID>) {
        var cut: Set<FileID> = []
        while true {
            let held = FilesHeld(in: group, descriptors: descriptors, without: cut)
            let assessor = FileAssessor(group, held: held.files)
            let more = held.files.filter { id in
                guard !cut.contains(id), let file = group.openFiles[id], case .unixSocket(let socket) = file.kind else {
                    return false
                }
                return assessor.assess(file, id: id).treatment != .asItWas || !assessor.keepsQueue(socket)
            }
            if more.isEmpty {
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
    }
}
