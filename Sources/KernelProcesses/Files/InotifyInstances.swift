import GuestMemory
import KernelObjects
import KernelTypes
import ProcessModel

/// `struct inotify_inode_mark` (fs/notify/inotify/inotify.h).
struct InotifyLayout: Sendable {
    let notify: NotifyLayout
    let watchMark: Field
    let watchDescriptor: Field

    /// Nil in a kernel without CONFIG_INOTIFY_USER.
    init?(_ types: TypeTable) throws(KernelError) {
        guard let watch = try? types.structure("inotify_inode_mark") else { return nil }
        watchMark = try watch.field("fsn_mark")
        watchDescriptor = try watch.field("wd")
        notify = try NotifyLayout(types)
    }
}

extension FileReader {
    /// IN_ALL_EVENTS, IN_EXCL_UNLINK and IN_ONESHOT: what a program can ask for (include/uapi/linux/inotify.h).
    private static let userBits: UInt32 = 0x0000_0fff | 0x0400_0000 | 0x8000_0000

    func inotify(at group: VirtualAddress) throws(MemoryFault) -> OpenFile.Kind {
        guard let fields = layout.inotify else { return .unsupported("inotify instance") }
        var watches: [Inotify.Watch] = []
        for mark in try kernel.marks(ofGroup: group, fields.notify) { watches.append(try watch(at: mark, fields)) }
        watches.sort { $0.descriptor < $1.descriptor }
        return .inotify(Inotify(watches: watches, unreadEvents: try kernel.uint32(fields.notify.unreadEvents, of: group)))
    }

    private func watch(at mark: VirtualAddress, _ fields: InotifyLayout) throws(MemoryFault) -> Inotify.Watch {
        let inode = try kernel.inode(ofMark: mark, fields.notify)
        // FSNOTIFY_MARK_FLAG_EXCL_UNLINK and FSNOTIFY_MARK_FLAG_IN_ONESHOT, which were in the mask until Linux 5.19 (`inotify_arg_to_flags`).
        let flags = try kernel.value(fields.notify.markFlags, of: mark)
        var mask = try kernel.uint32(fields.notify.markMask, of: mark) & Self.userBits
        if flags & 0x10 != 0 { mask |= 0x0400_0000 }
        if flags & 0x20 != 0 { mask |= 0x8000_0000 }
        let descriptor = try kernel.int32(fields.watchDescriptor, of: kernel.container(of: mark, fields.watchMark))
        var watch = Inotify.Watch(
            descriptor: descriptor, path: try name(of: inode).map { KernelString(bytes: $0) },
            device: try filesystem(ofInode: inode).device, inode: try kernel.value(layout.inode.number, of: inode),
            mask: mask)
        if watch.path == nil { watch.pathInFilesystem = try nameInFilesystem(of: inode).map { KernelString(bytes: $0) } }
        return watch
    }
}
