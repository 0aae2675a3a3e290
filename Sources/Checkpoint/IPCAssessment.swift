import GuestMemory
import ProcessModel

/// What of an IPC namespace CRIU cannot make again.
enum IPCAssessment {
    private static let toBeRemoved: UInt32 = 0o1000
    private static let locked: UInt32 = 0o2000
    /// MSGMAX of criu/ipc_ns.c.
    private static let messageLimit = 8192

    static func obstacles(of namespace: IPCNamespace) -> [Obstacle] {
        var found: [Obstacle] = []
        func add(_ verdict: Obstacle.Severity, _ reason: String) { found.append(Obstacle(verdict, pid: nil, reason: reason)) }
        func checkCreator(_ permissions: IPCPermissions, _ name: String) {
            // CRIU makes it as root; whoever owns it keeps his rights.
            let isLost =
                permissions.creatorUID != 0 && permissions.creatorUID != permissions.uid
                || permissions.creatorGID != 0 && permissions.creatorGID != permissions.gid
            if isLost {
                add(.degraded, "\(name) was made by user \(permissions.creatorUID), who loses his rights to it")
            }
        }
        for segment in namespace.segments {
            let name = "System V shared memory \(segment.permissions.id)"
            checkCreator(segment.permissions, name)
            if segment.hugePageBytes != 0, segment.wholeBytes != segment.sizeBytes {
                add(.degraded, "\(name) has the size of its huge pages now, \(segment.wholeBytes) bytes")
            }
            if segment.permissions.mode & toBeRemoved != 0 {
                add(.degraded, "\(name) was to go with its last user (IPC_RMID); it stays now")
            }
            if segment.permissions.mode & locked != 0 { add(.degraded, "\(name) is no longer locked in memory (SHM_LOCK)") }
        }
        if namespace.removesUnusedSegments, !namespace.segments.isEmpty {
            add(.degraded, "kernel.shm_rmid_forced is off in its ipc namespace after the restore")
        }
        let defaultLimit = UInt64(namespace.messageLimits.dropFirst().first ?? 0)
        for queue in namespace.messageQueues {
            let name = "message queue \(queue.permissions.id)"
            checkCreator(queue.permissions, name)
            let total = queue.messages.reduce(UInt64(0)) { $0 &+ UInt64($1.bytes.count) }
            if queue.messages.contains(where: { $0.bytes.count > messageLimit }) {
                add(.refused, "\(name) holds a message of more than \(messageLimit) bytes, which CRIU does not take")
            } else if total > defaultLimit || queue.messages.count > defaultLimit {
                add(.refused, "\(name) holds more than a new queue takes (msgmnb, \(defaultLimit) bytes)")
            } else if queue.limitBytes != defaultLimit {
                add(.degraded, "\(name) may hold \(defaultLimit) bytes again (msgmnb) in place of \(queue.limitBytes)")
            }
        }
        for set in namespace.semaphoreSets {
            let name = "semaphore set \(set.permissions.id)"
            checkCreator(set.permissions, name)
            if set.undoers > 0 {
                add(
                    .degraded, "\(set.undoers) processes do not undo their changes of \(name) any more when they end (SEM_UNDO)"
                )
            }
        }
        if namespace.posixQueues > 0 { add(.degraded, "\(namespace.posixQueues) POSIX message queues are lost") }
        for reason in excesses(of: namespace) { add(.refused, reason) }
        return found
    }

    /// What is beyond limits that were lowered when it was there already. CRIU sets the limits first (prepare_ipc_ns of criu/ipc_ns.c), and beyond them the
    /// kernel makes nothing (newseg of ipc/shm.c, newque and do_msgsnd of ipc/msg.c, newary of ipc/sem.c, ipc_addid of ipc/util.c).
    private static func excesses(of namespace: IPCNamespace) -> [String] {
        var found: [String] = []
        func check(_ holder: String, has amount: UInt64, _ what: String, _ setting: String, allows limit: UInt64) {
            guard amount > limit else { return }
            found.append("\(holder) has \(amount) \(what), more than kernel.\(setting) allows (\(limit))")
        }
        let all = "its ipc namespace"

        var pages: UInt64 = 0
        for segment in namespace.segments {
            let name = "System V shared memory \(segment.permissions.id)"
            check(name, has: segment.restoredBytes, "bytes", "shmmax", allows: namespace.largestSegment)
            let (sum, isOverflow) = pages.addingReportingOverflow(
                segment.restoredBytes / 4096 + (segment.restoredBytes % 4096 == 0 ? 0 : 1))
            pages = isOverflow ? .max : sum
        }
        check(all, has: pages, "pages of System V shared memory", "shmall", allows: namespace.segmentPages)
        let segments = UInt64(namespace.segments.count)
        check(all, has: segments, "segments of System V shared memory", "shmmni", allows: UInt64(namespace.segmentCount))

        func messageLimit(_ index: Int) -> UInt64 {
            index < namespace.messageLimits.count ? UInt64(namespace.messageLimits[index]) : 0
        }
        for queue in namespace.messageQueues {
            let largest = queue.messages.reduce(0) { max($0, $1.bytes.count) }
            let name = "a message of message queue \(queue.permissions.id)"
            check(name, has: UInt64(largest), "bytes", "msgmax", allows: messageLimit(0))
        }
        check(all, has: UInt64(namespace.messageQueues.count), "message queues", "msgmni", allows: messageLimit(2))

        // They are of type int, and nothing keeps them from being negative.
        func semaphoreLimit(_ index: Int) -> UInt64 {
            guard index < namespace.semaphoreLimits.count else { return 0 }
            return UInt64(max(Int32(bitPattern: namespace.semaphoreLimits[index]), 0))
        }
        var semaphores: UInt64 = 0
        for set in namespace.semaphoreSets {
            let count = UInt64(set.values.count)
            let name = "semaphore set \(set.permissions.id)"
            check(name, has: count, "semaphores", "sem (SEMMSL)", allows: semaphoreLimit(0))
            semaphores &+= count
        }
        check(all, has: semaphores, "semaphores", "sem (SEMMNS)", allows: semaphoreLimit(1))
        check(all, has: UInt64(namespace.semaphoreSets.count), "semaphore sets", "sem (SEMMNI)", allows: semaphoreLimit(3))
        return found
    }

    /// What CRIU expects of the attachments of a process: each covers its whole segment, without holes (open_shmem_sysv of criu/shmem.c).
    static func concern(about space: AddressSpace, in namespace: IPCNamespace) -> String? {
        var open: (segment: SharedSegment, start: UInt64, end: UInt64)?
        func isWhole() -> Bool {
            guard let open else { return true }
            return open.end - open.start == open.segment.wholeBytes
        }
        for mapping in space.mappings {
            guard case .systemVSharedMemory(_, let id, _, _) = mapping.kind else { continue }
            guard let segment = namespace.segments.first(where: { $0.permissions.id == id }) else {
                return "it has System V shared memory \(id) attached, which could not be read"
            }
            if mapping.protection & 4 != 0 { return "System V shared memory \(id) is attached as code" }
            if mapping.offsetBytes == 0 {
                guard isWhole() else { break }
                open = (segment, mapping.start.rawValue, mapping.end.rawValue)
            } else {
                guard let known = open, known.segment.permissions.id == id, known.end == mapping.start.rawValue,
                    mapping.offsetBytes == known.end - known.start
                else {
                    open = nil
                    return "only a part of System V shared memory \(id) is mapped"
                }
                open?.end = mapping.end.rawValue
            }
        }
        return isWhole() ? nil : "only a part of System V shared memory \(open?.segment.permissions.id ?? 0) is mapped"
    }
}
