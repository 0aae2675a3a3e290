import CLinux
import Glibc

/// Open files that CRIU is given instead of making them (`--inherit-fd`), until this is gone.
struct LentFiles: ~Copyable {
    private var files: [(name: String, number: Int32)] = []

    /// - Parameters:
    ///   - images: the directory of the group's images.
    ///   - queues: those that groups before it have.
    init(_ files: [RecoveryManifest.LentFile], images: String, of group: GroupName, queues: inout PosixQueues)
        throws(AgentError)
    {
        // A queue that was removed had a name for a moment, which another one may have now.
        for file in files.filter(\.isRemovedQueue) + files.filter({ !$0.isRemovedQueue }) {
            let number =
                switch file.kind {
                case .semaphore(let counter): try Self.semaphore(counter)
                case .queue(let queue): try queues.open(queue, flags: file.flags, images: images, for: group)
                }
            self.files.append((file.name, number))
            // What can be set of an open file, O_NONBLOCK among it.
            guard fcntl(number, F_SETFL, file.flags) == 0 else { throw systemError("cannot set the flags of \(file.name)") }
        }
    }

    deinit { for file in files { close(file.number) } }

    var numbers: [Int32] { files.map(\.number) }

    var options: [String] { files.flatMap { ["--inherit-fd", "fd[\($0.number)]:\($0.name)"] } }

    private static func semaphore(_ counter: UInt64) throws(AgentError) -> Int32 {
        let number = xpr_semaphore()
        guard number >= 0 else { throw systemError("cannot make an eventfd") }
        let bytes = (0..<8).map { UInt8(truncatingIfNeeded: counter >> (8 * UInt64($0))) }
        // One that is full takes one less than it can count.
        guard counter == 0 || System.write(number, bytes) == bytes.count else {
            close(number)
            throw systemError("an eventfd cannot count to \(counter)")
        }
        return number
    }
}

extension RecoveryManifest.LentFile {
    fileprivate var isRemovedQueue: Bool {
        guard case .queue(let queue) = kind else { return false }
        return queue.isRemoved
    }
}
