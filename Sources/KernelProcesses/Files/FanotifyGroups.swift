import GuestMemory
import KernelObjects
import KernelTypes
import ProcessModel

/// `struct fanotify_group_private_data` and what a mark of it has beyond one of inotify (include/linux/fsnotify_backend.h, fs/notify/fanotify).
struct FanotifyLayout: Sendable {
    let notify: NotifyLayout
    let flags: Field
    let eventFlags: Field
    /// Requests that were read and not answered; absent without CONFIG_FANOTIFY_ACCESS_PERMISSIONS.
    let unanswered: Field?
    let markIgnored: Field
    let markFlags: Field
    let survivesModification: UInt64
    let isEvictable: UInt64
    let ignoresByFlags: UInt64
    let connectorType: Field
    let mountType: Int64
    let filesystemType: Int64
    let mountConnector: Field

    /// Nil in a kernel without CONFIG_FANOTIFY, or one that does not tell what its marks are on.
    init?(_ types: TypeTable) throws(KernelError) {
        guard let group = try? types.structure("fsnotify_group"), let flags = group.optional("fanotify_data.flags"),
            let mount = types.enumerator("FSNOTIFY_OBJ_TYPE_VFSMOUNT"),
            let filesystem = types.enumerator("FSNOTIFY_OBJ_TYPE_SB"),
            let mountConnector = try types.structure("mount").optional("mnt_fsnotify_marks")
        else { return nil }
        notify = try NotifyLayout(types)
        self.flags = flags
        eventFlags = try group.field("fanotify_data.f_flags")
        unanswered = group.optional("fanotify_data.access_list")
        let mark = try types.structure("fsnotify_mark")
        // Renamed in Linux 6.0 (commit 31a371e419c8).
        markIgnored = try mark.field(anyOf: "ignore_mask", "ignored_mask")
        markFlags = try mark.field("flags")
        // FSNOTIFY_MARK_FLAG_IGNORED_SURV_MODIFY, NO_IREF and HAS_IGNORE_FLAGS. The first was bit 0 and the only one until Linux 5.19, where the flags of
        // inotify came in (commit 38035c04f586), and in the same series those of a group (commit 867a448d587e).
        let isNumberedAnew = group.optional("flags") != nil
        survivesModification = isNumberedAnew ? 0x100 : 1
        isEvictable = isNumberedAnew ? 0x200 : 0
        ignoresByFlags = isNumberedAnew ? 0x400 : 0
        connectorType = try types.structure("fsnotify_mark_connector").field("type")
        mountType = mount
        filesystemType = filesystem
        self.mountConnector = mountConnector
    }
}

extension FileReader {
    /// FANOTIFY_UNPRIV, which the kernel keeps among the flags of fanotify_init(2).
    private static let isUnprivileged: UInt32 = 1 << 31
    private static let requestLimit = 1 << 20

    func fanotify(at group: VirtualAddress) throws(MemoryFault) -> OpenFile.Kind {
        guard let fields = layout.fanotify else { return .unsupported("fanotify group") }
        let flags = try kernel.uint32(fields.flags, of: group)
        var fanotify = Fanotify(
            flags: flags & ~Self.isUnprivileged, eventFlags: try kernel.uint32(fields.eventFlags, of: group))
        fanotify.isUnprivileged = flags & Self.isUnprivileged != 0
        fanotify.unreadEvents = try kernel.uint32(fields.notify.unreadEvents, of: group)
        if let list = fields.unanswered {
            // Only their number counts.
            let link = Field(offset: 0, size: 16)
            var count: UInt32 = 0
            let fault = kernel.forEach(onList: group + list.offset, link: link, limit: Self.requestLimit) { _ in count += 1 }
            if let fault { throw fault }
            fanotify.unansweredRequests = count
        }
        for mark in try kernel.marks(ofGroup: group, fields.notify) {
            fanotify.marks.append(try fanotifyMark(at: mark, fields))
        }
        return .fanotify(fanotify)
    }

    private func fanotifyMark(at mark: VirtualAddress, _ fields: FanotifyLayout) throws(MemoryFault) -> Fanotify.Mark {
        let connector = try kernel.pointer(fields.notify.markConnector, of: mark)
        let type = Int64(try kernel.value(fields.connectorType, of: connector) & 0xff)
        var result = Fanotify.Mark(
            target: .filesystem, mask: try kernel.uint32(fields.notify.markMask, of: mark),
            ignoredMask: try kernel.uint32(fields.markIgnored, of: mark))
        let flags = try kernel.value(fields.markFlags, of: mark)
        result.survivesModification = flags & fields.survivesModification != 0
        result.isEvictable = flags & fields.isEvictable != 0
        result.ignoresByFlags = flags & fields.ignoresByFlags != 0
        switch type {
        case 0:
            let inode = try kernel.inode(ofMark: mark, fields.notify)
            result.device = try filesystem(ofInode: inode).device
            result.target = .inode(
                try kernel.value(layout.inode.number, of: inode), path: try name(of: inode).map { KernelString(bytes: $0) })
        case fields.mountType:
            let catchUp = layout.catchUp
            // A `struct vfsmount`, which is a part of a `struct mount`.
            let mount = try kernel.object(
                ofMark: mark, fields.notify,
                places: [
                    (at: catchUp.mountEmbedded.offset, connector: fields.mountConnector),
                    (at: fields.mountConnector.offset, connector: fields.mountConnector),
                ])
            let root = try kernel.pointer(catchUp.mountRoot, of: mount)
            let inode = try kernel.pointer(layout.paths.dentryInode, of: root)
            result.device = try filesystem(ofInode: inode).device
            let isGuests = try guestMountNamespace.map { own throws(MemoryFault) in
                try kernel.pointer(catchUp.mountNamespace, of: mount) == own
            }
            let path = try kernel.path(mount: mount + catchUp.mountEmbedded.offset, dentry: root, layout: layout.paths)
            result.target = .mount(
                try kernel.int32(catchUp.mountID, of: mount), path: isGuests == true ? KernelString(bytes: path.bytes) : nil)
        case fields.filesystemType: break
        default: result.target = .other
        }
        return result
    }
}
