import GuestMemory
import KernelObjects
import KernelTypes
import ProcessModel

/// `struct mqueue_inode_info` and `struct posix_msg_tree_node` (ipc/mqueue.c).
struct PosixQueueLayout: Sendable {
    let inode, tree, messageLimit, messageBytes, messageCount, notificationOwner: Field
    let node, nodeMessages, priority: Field
    let treeLayout: RedBlackTreeLayout
    let message: MessageLayout
    /// `ns.inum` of the ipc namespace that `s_fs_info` of the filesystem leads to.
    let namespace, namespaceNumber: Field

    /// nil for a kernel without such queues.
    init?(_ types: TypeTable) {
        do throws(KernelError) {
            let queue = try types.structure("mqueue_inode_info")
            inode = try queue.field("vfs_inode")
            tree = try queue.field("msg_tree")
            messageLimit = try queue.field("attr.mq_maxmsg")
            messageBytes = try queue.field("attr.mq_msgsize")
            messageCount = try queue.field("attr.mq_curmsgs")
            notificationOwner = try queue.field("notify_owner")
            let node = try types.structure("posix_msg_tree_node")
            self.node = try node.field("rb_node")
            nodeMessages = try node.field("msg_list")
            priority = try node.field("priority")
            treeLayout = try RedBlackTreeLayout(types)
            message = try MessageLayout(types)
            namespace = try types.structure("super_block").field("s_fs_info")
            namespaceNumber = try types.structure("ipc_namespace").field("ns.inum")
        } catch {
            return nil
        }
    }
}

extension FileReader {
    /// HARD_MSGMAX, the most messages of a queue.
    private static let queuedMessageLimit = 65_536

    /// A POSIX message queue with what waits in it.
    mutating func posixQueue(ofFileAt address: VirtualAddress, inode: VirtualAddress) throws(MemoryFault) -> OpenFile.Kind {
        guard let fields = layout.posixQueues else { return .unsupported("POSIX message queue") }
        let info = kernel.container(of: inode, fields.inode)
        let path = address + layout.file.path.offset
        let name = try kernel.name(of: kernel.pointer(layout.paths.pathDentry, of: path), layout: layout.paths)
        let namespace = try kernel.pointer(fields.namespace, of: kernel.pointer(layout.inode.superblock, of: inode))
        var queue = PosixQueue(
            name: KernelString(bytes: name), isRemoved: try kernel.value(layout.inode.links, of: inode) == 0,
            inode: try kernel.value(layout.inode.number, of: inode),
            ipcNamespace: try kernel.uint32(fields.namespaceNumber, of: namespace),
            mode: try kernel.uint32(layout.inode.mode, of: inode) & 0o7777, uid: try kernel.uint32(layout.inode.uid, of: inode),
            gid: try kernel.uint32(layout.inode.gid, of: inode),
            messageLimit: try kernel.value(fields.messageLimit, of: info),
            messageBytes: try kernel.value(fields.messageBytes, of: info))
        queue.hasNotification = try !kernel.pointer(fields.notificationOwner, of: info).isNull
        queue.messages = try messages(ofQueue: info, fields)
        guard UInt64(queue.messages.count) == (try kernel.value(fields.messageCount, of: info)) else {
            throw MemoryFault(.damaged("queue of \(queue.messages.count) messages that counts others"), at: info)
        }
        return .posixQueue(queue)
    }

    /// A node of the tree for each priority, the lowest first, with its messages in the order in which they came.
    private mutating func messages(
        ofQueue info: VirtualAddress, _ fields: PosixQueueLayout
    ) throws(MemoryFault) -> [PosixQueue.Message] {
        if let known = queuedMessages[info] { return known }
        var nodes: [VirtualAddress] = []
        let fault = kernel.forEach(
            inRedBlackTree: info + fields.tree.offset, link: fields.node, layout: fields.treeLayout,
            limit: Self.queuedMessageLimit,
            { nodes.append($0) })
        if let fault { throw fault }
        var result: [PosixQueue.Message] = []
        for node in nodes.reversed() {
            let priority = try kernel.uint32(fields.priority, of: node)
            var messages: [VirtualAddress] = []
            let fault = kernel.forEach(
                onList: node + fields.nodeMessages.offset, link: fields.message.link, limit: Self.queuedMessageLimit,
                { messages.append($0) })
            if let fault { throw fault }
            for message in messages {
                guard result.count < Self.queuedMessageLimit else {
                    throw MemoryFault(.damaged("queue of more than \(Self.queuedMessageLimit) messages"), at: info)
                }
                let bytes = try kernel.text(ofMessage: message, fields.message, budget: &ipcBudget)
                result.append(PosixQueue.Message(priority: priority, bytes: bytes))
            }
        }
        queuedMessages[info] = result
        return result
    }
}
