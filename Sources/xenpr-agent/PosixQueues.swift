import CLinux
import Glibc

/// POSIX message queues that the agent has made in this restore, for groups may share one by its name.
struct PosixQueues {
    /// Of this restore, by name; the agent restores one group after the other to the point where CRIU starts.
    private var made: [String: UInt64] = [:]

    /// An open queue, made and filled when it is met first.
    ///
    /// - Parameter images: the directory that has its messages.
    /// - Returns: a descriptor; the caller closes it.
    mutating func open(_ queue: RecoveryManifest.LentFile.Queue, flags: Int32, images: String) throws(AgentError) -> Int32 {
        let name = "\(queue.name)"
        if made[name] == nil {
            try make(queue, images: images)
        } else if made[name] != queue.inode {
            throw AgentError(description: "two POSIX message queues have the name /\(name)")
        }
        // O_RDONLY, O_WRONLY or O_RDWR, and O_NONBLOCK.
        let number = System.openQueue(name, flags & (3 | O_NONBLOCK))
        guard number >= 0 else { throw systemError("cannot open the POSIX message queue /\(name)") }
        return number
    }

    /// Takes the names away of those that had none any more, once all who have them open have got them.
    mutating func removeNames(of queues: [RecoveryManifest.LentFile.Queue]) {
        for queue in queues where queue.isRemoved {
            made["\(queue.name)"] = nil
            System.removeQueue("\(queue.name)")
        }
    }

    private mutating func make(_ queue: RecoveryManifest.LentFile.Queue, images: String) throws(AgentError) {
        let name = "\(queue.name)"
        let contents = try readFile("\(images)/\(queue.contents).img")
        guard contents.count == queue.messages.reduce(0, { $0 &+ $1.byteCount }) else {
            throw AgentError(description: "the messages of /\(name) are not in \(queue.contents).img")
        }
        guard
            let file = Descriptor(
                taking: System.makeQueue(name, mode: queue.mode, limit: queue.messageLimit, bytes: queue.messageBytes))
        else { throw systemError("cannot make the POSIX message queue /\(name)") }
        made[name] = queue.inode
        var rest = contents[...]
        for message in queue.messages {
            guard message.byteCount >= 0, rest.count >= message.byteCount,
                System.send(file.number, Array(rest.prefix(message.byteCount)), priority: message.priority) == 0
            else { throw systemError("cannot fill the POSIX message queue /\(name)") }
            rest = rest.dropFirst(message.byteCount)
        }
        // After the mode, which a change of the owner leaves alone: these are no programs.
        guard fchmod(file.number, queue.mode) == 0, fchown(file.number, queue.uid, queue.gid) == 0 else {
            throw systemError("cannot give the POSIX message queue /\(name) its owner")
        }
    }
}
