import CLinux
import Glibc

/// POSIX message queues that the agent has made in this restore, for groups may share one.
struct PosixQueues: ~Copyable {
    private struct Made {
        let name: String
        let isRemoved: Bool
        /// Open until the end of the restore: by it the others who have the queue open get it, also when it has no name.
        let number: Int32
        var groups: Set<String>
    }

    /// By the inode that each had.
    private var made: [UInt64: Made] = [:]

    deinit { for queue in made.values { close(queue.number) } }

    /// An open queue, made and filled when it is met first.
    ///
    /// - Parameter images: the directory that has its messages.
    /// - Returns: a descriptor; the caller closes it.
    mutating func open(
        _ queue: RecoveryManifest.LentFile.Queue, flags: Int32, images: String, for group: GroupName
    ) throws(AgentError) -> Int32 {
        if made[queue.inode] == nil { try make(queue, images: images, for: group) }
        made[queue.inode]?.groups.insert(group.description)
        guard let known = made[queue.inode] else { throw AgentError(description: "no POSIX message queue /\(queue.name)") }
        // O_RDONLY, O_WRONLY or O_RDWR, and O_NONBLOCK.
        let number = System.open("/proc/self/fd/\(known.number)", flags & (3 | O_NONBLOCK))
        guard number >= 0 else { throw systemError("cannot open the POSIX message queue /\(queue.name)") }
        return number
    }

    /// Takes away what a group that has failed was the only one to have: what is started in its place would find the old messages.
    mutating func giveUp(_ group: GroupName) {
        for (inode, queue) in made where queue.groups.contains(group.description) {
            made[inode]?.groups.remove(group.description)
            guard made[inode]?.groups.isEmpty ?? false else { continue }
            if !queue.isRemoved { System.removeQueue(queue.name) }
            close(queue.number)
            made[inode] = nil
        }
    }

    private mutating func make(
        _ queue: RecoveryManifest.LentFile.Queue, images: String, for group: GroupName
    ) throws(AgentError) {
        let name = queue.name
        let contents = try readFile("\(images)/\(queue.contents).img")
        guard contents.count == queue.messages.reduce(0, { $0 &+ $1.byteCount }) else {
            throw AgentError(description: "the messages of /\(name) are not in \(queue.contents).img")
        }
        let number = System.makeQueue(name, mode: queue.mode, limit: queue.messageLimit, bytes: queue.messageBytes)
        guard number >= 0 else { throw systemError("cannot make the POSIX message queue /\(name)") }
        made[queue.inode] = Made(name: name, isRemoved: queue.isRemoved, number: number, groups: [group.description])
        if queue.isRemoved { System.removeQueue(name) }
        var rest = contents[...]
        for message in queue.messages {
            guard message.byteCount >= 0, rest.count >= message.byteCount,
                System.send(number, Array(rest.prefix(message.byteCount)), priority: message.priority) == 0
            else { throw systemError("cannot fill the POSIX message queue /\(name)") }
            rest = rest.dropFirst(message.byteCount)
        }
        // After the mode, which a change of the owner leaves alone: these are no programs.
        guard fchmod(number, queue.mode) == 0, fchown(number, queue.uid, queue.gid) == 0 else {
            throw systemError("cannot give the POSIX message queue /\(name) its owner")
        }
    }
}
