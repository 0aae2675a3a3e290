import KernelTypes

/// `struct ipc_namespace` and what hangs on it (include/linux/ipc_namespace.h, ipc/shm.c, ipc/msg.c, ipc/sem.c).
struct IPCLayout: Sendable {
    /// `IPC_SEM_IDS`, `IPC_MSG_IDS`, `IPC_SHM_IDS` of ipc/util.h.
    enum Table: Int {
        case semaphores = 0
        case messages = 1
        case segments = 2
    }

    let ids: Field
    /// An IDR, which is an xarray, in `struct ipc_ids`.
    let idr: Field
    let nextID: Field?
    let semaphoreLimits: Field
    let messageLimits: [Field]
    let largestSegment, segmentPages, segmentCount, removesUnusedSegments: Field
    let posixQueueLimits: [Field]
    let posixQueues: Field?

    let id, key, uid, gid, creatorUID, creatorGID, mode, isDeleted: Field

    let segmentPermissions, segmentFile, segmentSize: Field
    let attachmentID, attachmentNamespace: Field
    let queuePermissions, queueLimit, queueMessages: Field
    let message: MessageLayout
    let setPermissions, setCount, setSemaphores, setUndo: Field
    let semaphoreValue: Field
    let semaphoreSize: Int
    let undoLink, undoAdjustments: Field

    /// nil for a kernel without System V IPC (CONFIG_SYSVIPC).
    init?(_ types: TypeTable) {
        do throws(KernelError) {
            let namespace = try types.structure("ipc_namespace")
            ids = try namespace.field("ids")
            idr = try types.structure("ipc_ids").field("ipcs_idr")
            nextID = try types.structure("ipc_ids").optional("next_id")
            semaphoreLimits = try namespace.field("sem_ctls")
            messageLimits = [
                try namespace.field("msg_ctlmax"), try namespace.field("msg_ctlmnb"), try namespace.field("msg_ctlmni"),
            ]
            largestSegment = try namespace.field("shm_ctlmax")
            segmentPages = try namespace.field("shm_ctlall")
            segmentCount = try namespace.field("shm_ctlmni")
            removesUnusedSegments = try namespace.field("shm_rmid_forced")
            let limits = ["mq_queues_max", "mq_msg_max", "mq_msgsize_max", "mq_msg_default", "mq_msgsize_default"]
            posixQueueLimits = limits.compactMap { namespace.optional($0) }
            posixQueues = namespace.optional("mq_queues_count")

            let permissions = try types.structure("kern_ipc_perm")
            id = try permissions.field("id")
            key = try permissions.field("key")
            uid = try permissions.field("uid")
            gid = try permissions.field("gid")
            creatorUID = try permissions.field("cuid")
            creatorGID = try permissions.field("cgid")
            mode = try permissions.field("mode")
            isDeleted = try permissions.field("deleted")

            let segment = try types.structure("shmid_kernel")
            segmentPermissions = try segment.field("shm_perm")
            segmentFile = try segment.field("shm_file")
            segmentSize = try segment.field("shm_segsz")
            let attachment = try types.structure("shm_file_data")
            attachmentID = try attachment.field("id")
            attachmentNamespace = try attachment.field("ns")

            let queue = try types.structure("msg_queue")
            queuePermissions = try queue.field("q_perm")
            queueLimit = try queue.field("q_qbytes")
            queueMessages = try queue.field("q_messages")
            message = try MessageLayout(types)

            let set = try types.structure("sem_array")
            setPermissions = try set.field("sem_perm")
            setCount = try set.field("sem_nsems")
            setSemaphores = try set.field("sems")
            setUndo = try set.field("list_id")
            let semaphore = try types.structure("sem")
            semaphoreValue = try semaphore.field("semval")
            semaphoreSize = semaphore.size
            let undo = try types.structure("sem_undo")
            undoLink = try undo.field("list_id")
            undoAdjustments = try undo.field("semadj")
        } catch {
            return nil
        }
    }

    func table(_ table: Table) -> Field { ids.element(table.rawValue) }
}
