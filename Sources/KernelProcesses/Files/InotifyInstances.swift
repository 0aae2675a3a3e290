import GuestMemory
import KernelObjects
import KernelTypes
import ProcessModel

/// `struct fsnotify_group`, `struct fsnotify_mark`, `struct fsnotify_mark_connector` (include/linux/fsnotify_backend.h, fs/notify/fsnotify.h)
/// and `struct inotify_inode_mark` (fs/notify/inotify/inotify.h).
struct InotifyLayout: Sendable {
    let unreadEvents: Field
    let marks: Field
    let markLink: Field
    let markMask: Field
    let markConnector: Field
    let connectedObject: Field
    let inodeConnector: Field
    let watchMark: Field
    let watchDescriptor: Field

    /// Nil in a kernel without CONFIG_INOTIFY_USER.
    init?(_ types: TypeTable) throws(KernelError) {
        guard let watch = try? types.structure("inotify_inode_mark") else { return nil }
        watchMark = try watch.field("fsn_mark")
        watchDescriptor = try watch.field("wd")
        let group = try types.structure("fsnotify_group")
        unreadEvents = try group.field("q_len")
        marks = try group.field("marks_list")
        let mark = try types.structure("fsnotify_mark")
        markLink = try mark.field("g_list")
        markMask = try mark.field("mask")
        markConnector = try mark.field("connector")
        connectedObject = try types.structure("fsnotify_mark_connector").field("obj")
        inodeConnector = try types.structure("inode").field("i_fsnotify_marks")
    }
}

extension FileReader {
    /// /proc/sys/fs/inotify/max_user_watches can be raised far, but nobody's instance has more.
    private static let watchLimit = 1 << 20
    /// IN_ALL_EVENTS, IN_EXCL_UNLINK and IN_ONESHOT: what a program can ask for (include/uapi/linux/inotify.h).
    private static let userBits: UInt32 = 0x0000_0fff | 0x0400_0000 | 0x8000_0000

    func inotify(at group: VirtualAddress) throws(MemoryFault) -> OpenFile.Kind {
        guard let fields = layout.inotify else { return .unsupported("inotify instance") }
        var marks: [VirtualAddress] = []
        if let fault = kernel.forEach(
            onList: group + fields.marks.offset, link: fields.markLink, limit: Self.watchLimit, { marks.append($0) })
        {
            throw fault
        }
        var watches: [Inotify.Watch] = []
        for mark in marks { watches.append(try watch(at: mark, fields)) }
        watches.sort { $0.descriptor < $1.descriptor }
        return .inotify(Inotify(watches: watches, unreadEvents: try kernel.uint32(fields.unreadEvents, of: group)))
    }

    private func watch(at mark: VirtualAddress, _ fields: InotifyLayout) throws(MemoryFault) -> Inotify.Watch {
        let inode = try inode(ofMark: mark, fields)
        let descriptor = try kernel.int32(fields.watchDescriptor, of: kernel.container(of: mark, fields.watchMark))
        return Inotify.Watch(
            descriptor: descriptor, path: try name(of: inode).map { KernelString(bytes: $0) },
            device: try filesystem(ofInode: inode).device, inode: try kernel.value(layout.inode.number, of: inode),
            mask: try kernel.uint32(fields.markMask, of: mark) & Self.userBits)
    }

    /// The connector points to the inode, or, before Linux 6.10, to the inode's pointer to the connector; that pointer itself proves which.
    private func inode(ofMark mark: VirtualAddress, _ fields: InotifyLayout) throws(MemoryFault) -> VirtualAddress {
        let connector = try kernel.pointer(fields.markConnector, of: mark)
        let object = try kernel.pointer(fields.connectedObject, of: connector)
        for inode in [kernel.container(of: object, fields.inodeConnector), object] {
            let back = try? kernel.pointer(fields.inodeConnector, of: inode)
            if back == connector { return inode }
        }
        throw MemoryFault(.damaged("watch of an inode that does not know of it"), at: mark)
    }

    /// A path of an inode as init sees it; nil when it has no name any more.
    private func name(of inode: VirtualAddress) throws(MemoryFault) -> [UInt8]? {
        let walk = FilesystemWalk(kernel: kernel, layout: layout)
        guard let mount = try walk.mount(of: kernel.pointer(layout.inode.superblock, of: inode)) else { return nil }
        for dentry in try walk.aliases(of: inode) {
            let path = try kernel.path(mount: mount, dentry: dentry, layout: layout.paths)
            if !path.isDeleted { return path.bytes }
        }
        return nil
    }
}
