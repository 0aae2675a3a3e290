import ProcessModel

extension FileImage {
    /// `fanotify_file_entry` of images/fsnotify.proto. Marked files are found by their paths, as those of inotify are.
    static func fanotify(id: UInt32, group: Fanotify, file: OpenFile) -> ProtobufMessage {
        // FAN_NONBLOCK (2) is set if either has it, and fcntl(2) may have taken it away.
        let flags = file.flags & 0o4000 == 0 ? group.flags & ~2 : group.flags
        return entry(
            .fanotify, id: id, field: 14,
            ProtobufMessage { entry in
                entry.unsigned(1, id)
                entry.unsigned(2, reopenFlags(file.flags))
                entry.message(3, fileOwner(file.owner))
                entry.unsigned(4, flags)
                entry.unsigned(5, group.eventFlags)
                for mark in group.marks { if let message = message(mark, id: id) { entry.message(6, message) } }
            })
    }

    /// `fanotify_mark_entry`; nil for what is not set again.
    private static func message(_ mark: Fanotify.Mark, id: UInt32) -> ProtobufMessage? {
        let target: (type: UInt32, field: UInt32, message: ProtobufMessage)
        switch mark.target {
        case .inode(let inode, let path?):
            target = (
                1, 7,
                ProtobufMessage { entry in
                    entry.unsigned(1, inode)
                    entry.message(2, handle(path))
                }
            )
        case .mount(let id, let path?):
            target = (
                2, 8,
                ProtobufMessage { entry in
                    entry.unsigned(1, UInt32(bitPattern: id))
                    entry.data(2, path.bytes)
                }
            )
        case .inode, .mount, .filesystem, .other: return nil
        }
        return ProtobufMessage { entry in
            entry.unsigned(1, id)
            entry.unsigned(2, target.type)
            entry.unsigned(3, mark.imageFlags)
            entry.unsigned(4, mark.mask)
            entry.unsigned(5, mark.ignoredMask)
            entry.unsigned(6, UInt32(truncatingIfNeeded: mark.device))
            entry.message(target.field, target.message)
        }
    }

    /// `fh_entry`. CRIU finds a watched file by its path where it has one (criu/fsnotify.c), so the handle itself stays empty.
    static func handle(_ path: KernelString?, mountID: Int32? = nil) -> ProtobufMessage {
        ProtobufMessage { handle in
            handle.unsigned(1, UInt32(0))
            handle.unsigned(2, UInt32(0))
            // FH_ENTRY_SIZES__min_entries: CRIU counts on so many.
            handle.repeated(3, Array(repeating: UInt64(0), count: 16))
            if let path { handle.data(4, path.bytes) }
            if let mountID { handle.unsigned(5, UInt32(bitPattern: mountID)) }
        }
    }
}
