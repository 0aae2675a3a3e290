import GuestMemory
import KernelObjects
import KernelTypes
import ProcessModel

/// What inotify instances and fanotify groups have in common: `struct fsnotify_group`, `struct fsnotify_mark`, `struct fsnotify_mark_connector`
/// (include/linux/fsnotify_backend.h, fs/notify/fsnotify.h).
struct NotifyLayout: Sendable {
    let unreadEvents: Field
    let marks: Field
    let markLink: Field
    let markMask: Field
    let markFlags: Field
    let markConnector: Field
    let connectedObject: Field
    let inodeConnector: Field

    init(_ types: TypeTable) throws(KernelError) {
        let group = try types.structure("fsnotify_group")
        unreadEvents = try group.field("q_len")
        marks = try group.field("marks_list")
        let mark = try types.structure("fsnotify_mark")
        markLink = try mark.field("g_list")
        markMask = try mark.field("mask")
        markFlags = try mark.field("flags")
        markConnector = try mark.field("connector")
        connectedObject = try types.structure("fsnotify_mark_connector").field("obj")
        inodeConnector = try types.structure("inode").field("i_fsnotify_marks")
    }
}

extension KernelReader {
    /// /proc/sys/fs/inotify/max_user_watches and its like of fanotify can be raised far, but nobody's group has more.
    private static let markLimit = 1 << 20

    /// The marks (`struct fsnotify_mark *`) of a group, in the kernel's order.
    func marks(ofGroup group: VirtualAddress, _ fields: NotifyLayout) throws(MemoryFault) -> [VirtualAddress] {
        var marks: [VirtualAddress] = []
        let fault = forEach(onList: group + fields.marks.offset, link: fields.markLink, limit: Self.markLimit) {
            marks.append($0)
        }
        if let fault { throw fault }
        return marks
    }

    func inode(ofMark mark: VirtualAddress, _ fields: NotifyLayout) throws(MemoryFault) -> VirtualAddress {
        try object(ofMark: mark, fields, places: [(at: fields.inodeConnector.offset, connector: fields.inodeConnector)])
    }

    /// The object that a mark is on. The connector points into it, or, before Linux 6.10, to the object's pointer to the connector; that pointer itself proves
    /// which.
    ///
    /// - Parameter places: where in the object the connector may point to, and where the object points back. The object itself is always tried.
    func object(
        ofMark mark: VirtualAddress, _ fields: NotifyLayout, places: [(at: Int, connector: Field)]
    ) throws(MemoryFault) -> VirtualAddress {
        let connector = try pointer(fields.markConnector, of: mark)
        let pointed = try pointer(fields.connectedObject, of: connector)
        for place in places {
            for object in [pointed - place.at, pointed] {
                let back = try? pointer(place.connector, of: object)
                if back == connector { return object }
            }
        }
        throw MemoryFault(.damaged("watch of an object that does not know of it"), at: mark)
    }
}

extension FileReader {
    /// A path of an inode as init sees it; nil when it has no name any more.
    func name(of inode: VirtualAddress) throws(MemoryFault) -> [UInt8]? {
        let walk = FilesystemWalk(kernel: kernel, layout: layout)
        guard let mount = try walk.mount(of: kernel.pointer(layout.inode.superblock, of: inode)) else { return nil }
        for dentry in try walk.aliases(of: inode) {
            let path = try kernel.path(mount: mount, dentry: dentry, layout: layout.paths)
            if !path.isDeleted { return path.bytes }
        }
        return nil
    }

    /// A path of an inode in its filesystem, wherever that is mounted; nil when it has no name any more.
    func nameInFilesystem(of inode: VirtualAddress) throws(MemoryFault) -> [UInt8]? {
        for dentry in try FilesystemWalk(kernel: kernel, layout: layout).aliases(of: inode)
        where try !kernel.isUnhashed(dentry, layout: layout.paths) {
            return try kernel.pathInFilesystem(of: dentry, layout: layout.paths)
        }
        return nil
    }
}
