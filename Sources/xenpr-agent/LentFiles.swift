import CLinux
import Glibc

/// Open files that CRIU is given instead of making them (`--inherit-fd`), until this is gone.
struct LentFiles: ~Copyable {
    private var files: [(name: String, number: Int32)] = []

    /// - Parameters:
    ///   - images: the directory of the group's images.
    ///   - queues: those that groups before it have.
    init(_ files: [RecoveryManifest.LentFile], images: String, queues: inout PosixQueues) throws(AgentError) {
        var opened: [RecoveryManifest.LentFile.Queue] = []
        for file in files {
            let number: Int32
            switch file.kind {
            case .semaphore(let counter): number = try Self.semaphore(counter)
            case .queue(let queue):
                number = try queues.open(queue, flags: file.flags, images: images)
                opened.append(queue)
            }
            self.files.append((file.name, number))
            // What can be set of an open file, O_NONBLOCK among it.
            guard fcntl(number, F_SETFL, file.flags) == 0 else { throw systemError("cannot set the flags of \(file.name)") }
        }
        queues.removeNames(of: opened)
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
