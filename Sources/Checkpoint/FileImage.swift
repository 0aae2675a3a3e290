import ProcessModel

/// `file_entry` of images/fdinfo.proto for each kind of open file. The socket kinds are in SocketImage.
enum FileImage {
    /// `fd_types`.
    enum EntryType: UInt32 {
        case regular = 1
        case pipe = 2
        case fifo = 3
        case inetSocket = 4
        case unixSocket = 5
        case eventfd = 6
        case epoll = 7
        case inotify = 8
        case signalfd = 9
        case packetSocket = 10
        case terminal = 11
        case fanotify = 12
        case netlinkSocket = 13
        case namespace = 14
        case tunnel = 15
        case timerfd = 17
        case memfd = 18
    }

    static func entry(_ type: EntryType, id: UInt32, field: UInt32, _ payload: ProtobufMessage) -> ProtobufMessage {
        ProtobufMessage { entry in
            entry.unsigned(1, type.rawValue)
            entry.unsigned(2, id)
            entry.message(field, payload)
        }
    }

    /// Flags that mean something to `open` and F_SETFL again: without O_CREAT, O_EXCL, O_TRUNC, O_CLOEXEC (the descriptor's own) and the
    /// kernel's FMODE_EXEC (0x20).
    static func reopenFlags(_ flags: UInt32) -> UInt32 {
        flags & ~(0o100 | 0o200 | 0o1000 | 0o2000000 | 0x20)
    }

    /// A position that CRIU does not seek to.
    static let noPosition = UInt64.max

    /// `reg_file_entry`: regular files, directories, and the character devices that are as good as new.
    static func regular(id: UInt32, node: FileNode, flags: UInt32, position: UInt64, owner: FileOwner, checksSize: Bool)
        -> ProtobufMessage
    {
        entry(
            .regular, id: id, field: 3,
            ProtobufMessage { file in
                file.unsigned(1, id)
                file.unsigned(2, reopenFlags(flags))
                file.unsigned(3, position)
                file.message(5, fileOwner(owner))
                file.data(6, node.path.bytes)
                if let mount = node.mountID { file.zigzag(7, mount) }
                if node.type == .regular, checksSize, !node.isDeleted { file.unsigned(8, node.sizeBytes) }
                if node.mode != 0, [.regular, .directory, .symbolicLink].contains(node.type), !node.isDeleted {
                    file.unsigned(10, node.mode)
                }
            })
    }

    /// An open file that CRIU is given (`--inherit-fd`): it takes the one of this name for what a regular file's entry stands for, whatever it is (`inherited_fd` of
    /// criu/files.c).
    static func lent(id: UInt32, name: String, flags: UInt32) -> ProtobufMessage {
        let node = FileNode(path: KernelString(bytes: Array("/\(name)".utf8)), type: .other, mode: 0)
        return regular(id: id, node: node, flags: flags, position: noPosition, owner: FileOwner(), checksSize: false)
    }

    /// `fown_entry`.
    static func fileOwner(_ owner: FileOwner) -> ProtobufMessage {
        ProtobufMessage { entry in
            entry.unsigned(1, owner.uid)
            entry.unsigned(2, owner.effectiveUID)
            entry.unsigned(3, owner.signal)
            entry.unsigned(4, owner.pidType)
            entry.unsigned(5, owner.pid)
        }
    }

    static func pipe(id: UInt32, pipe: PipeID, file: OpenFile) -> ProtobufMessage {
        entry(.pipe, id: id, field: 18, pipeMessage(id: id, pipe: pipe, file: file))
    }

    private static func pipeMessage(id: UInt32, pipe: PipeID, file: OpenFile) -> ProtobufMessage {
        ProtobufMessage { entry in
            entry.unsigned(1, id)
            entry.unsigned(2, pipe.rawValue)
            entry.unsigned(3, reopenFlags(file.flags))
            entry.message(4, fileOwner(file.owner))
        }
    }

    /// `fifo_entry`; its path is a regular file entry of the same id.
    static func fifo(id: UInt32, pipe: PipeID) -> ProtobufMessage {
        entry(
            .fifo, id: id, field: 17,
            ProtobufMessage { entry in
                entry.unsigned(1, id)
                entry.unsigned(2, pipe.rawValue)
                entry.unsigned(3, id)
            })
    }

    static func eventfd(id: UInt32, counter: UInt64, file: OpenFile) -> ProtobufMessage {
        entry(
            .eventfd, id: id, field: 8,
            ProtobufMessage { entry in
                entry.unsigned(1, id)
                entry.unsigned(2, reopenFlags(file.flags))
                entry.message(3, fileOwner(file.owner))
                entry.unsigned(4, counter)
            })
    }

    /// `tunfile_entry`; its path is a regular file entry of the same id.
    static func tunnel(id: UInt32, _ tunnel: TunnelFile, network: UInt32?) -> ProtobufMessage {
        entry(
            .tunnel, id: id, field: 11,
            ProtobufMessage { entry in
                entry.unsigned(1, id)
                if let device = tunnel.device { entry.data(2, device.bytes) }
                if tunnel.isDetached { entry.flag(3, true) }
                if let network { entry.unsigned(4, network) }
            })
    }

    static func epoll(id: UInt32, targets: [EpollTarget], file: OpenFile) -> ProtobufMessage {
        entry(
            .epoll, id: id, field: 9,
            ProtobufMessage { entry in
                entry.unsigned(1, id)
                entry.unsigned(2, reopenFlags(file.flags))
                entry.message(3, fileOwner(file.owner))
                for target in targets {
                    entry.message(4) { registration in
                        registration.unsigned(1, id)
                        registration.unsigned(2, UInt32(bitPattern: target.descriptor))
                        registration.unsigned(3, target.events)
                        registration.unsigned(4, target.data)
                    }
                }
            })
    }

    static func signalfd(id: UInt32, mask: UInt64, file: OpenFile) -> ProtobufMessage {
        entry(
            .signalfd, id: id, field: 10,
            ProtobufMessage { entry in
                entry.unsigned(1, id)
                entry.unsigned(2, reopenFlags(file.flags))
                entry.message(3, fileOwner(file.owner))
                entry.unsigned(4, mask)
            })
    }

    /// `ns_file_entry` of images/ns.proto: CRIU opens the file of a process that is in the namespace.
    /// - Parameter namespace: its number among the ids of what processes share (`KernelObjectIDs`).
    static func namespace(id: UInt32, kind: NamespaceKind, namespace: UInt32, file: OpenFile) -> ProtobufMessage {
        entry(
            .namespace, id: id, field: 5,
            ProtobufMessage { entry in
                entry.unsigned(1, id)
                entry.unsigned(2, namespace)
                entry.unsigned(3, kind.rawValue)
                entry.unsigned(4, reopenFlags(file.flags))
            })
    }

    /// `inotify_file_entry` of images/fsnotify.proto.
    static func inotify(id: UInt32, instance: Inotify, file: OpenFile, finds: (Inotify.Watch) -> Bool) -> ProtobufMessage {
        entry(
            .inotify, id: id, field: 13,
            ProtobufMessage { entry in
                entry.unsigned(1, id)
                entry.unsigned(2, reopenFlags(file.flags))
                entry.message(4, fileOwner(file.owner))
                for watch in instance.watches where finds(watch) {
                    entry.message(5) { image in
                        image.unsigned(1, id)
                        image.unsigned(2, watch.inode)
                        image.unsigned(3, watch.mask)
                        image.unsigned(4, UInt32(0))
                        image.unsigned(5, UInt32(truncatingIfNeeded: watch.device))
                        image.unsigned(6, UInt32(bitPattern: watch.descriptor))
                        image.message(7, handle(watch.path, mountID: watch.mountID))
                    }
                }
            })
    }

    static func timerfd(id: UInt32, timer: TimerDescriptor, file: OpenFile) -> ProtobufMessage {
        entry(
            .timerfd, id: id, field: 12,
            ProtobufMessage { entry in
                entry.unsigned(1, id)
                entry.unsigned(2, reopenFlags(file.flags))
                entry.message(3, fileOwner(file.owner))
                entry.unsigned(4, UInt32(bitPattern: timer.clock))
                entry.unsigned(5, timer.ticks)
                // TFD_TIMER_ABSTIME is left out: the times below count from the restore. But only with it is TFD_TIMER_CANCEL_ON_SET heeded (timerfd_setup_cancel, fs/timerfd.c), and
                // then CRIU adds the second that it is (timerfd_arm, criu/timerfd.c).
                entry.unsigned(6, timer.settimeFlags & 2 == 0 ? timer.settimeFlags & ~1 : timer.settimeFlags)
                entry.unsigned(7, timer.remainingNanoseconds / 1_000_000_000)
                entry.unsigned(8, timer.remainingNanoseconds % 1_000_000_000)
                entry.unsigned(9, timer.intervalNanoseconds / 1_000_000_000)
                entry.unsigned(10, timer.intervalNanoseconds % 1_000_000_000)
            })
    }

    static func memfd(id: UInt32, memory: SharedMemoryID, file: OpenFile) -> ProtobufMessage {
        entry(
            .memfd, id: id, field: 20,
            ProtobufMessage { entry in
                entry.unsigned(1, id)
                entry.unsigned(2, reopenFlags(file.flags))
                entry.unsigned(3, file.position)
                entry.message(4, fileOwner(file.owner))
                entry.unsigned(5, memory.rawValue)
            })
    }

    /// `memfd_inode_entry` of images/memfd.proto.
    static func memfdInode(_ id: SharedMemoryID, _ memory: SharedMemory, _ memfd: SharedMemory.Memfd) -> ProtobufMessage {
        ProtobufMessage { entry in
            entry.data(1, memfd.name.bytes)
            entry.unsigned(2, memfd.uid)
            entry.unsigned(3, memfd.gid)
            entry.unsigned(4, memory.sizeBytes)
            entry.unsigned(5, id.imageNumber)
            entry.unsigned(6, memfd.seals)
            entry.unsigned(7, UInt64(id.rawValue))
            // MFD_HUGETLB
            if memory.hugePageBytes != 0 { entry.unsigned(8, MemoryImage.hugePageSize(memory.hugePageBytes) | 4) }
        }
    }

    /// `fdinfo_entry`; `type` is that of the file's entry.
    static func descriptor(_ descriptor: Descriptor, file: UInt32, type: EntryType) -> ProtobufMessage {
        ProtobufMessage { entry in
            entry.unsigned(1, file)
            entry.unsigned(2, UInt32(descriptor.closesOnExec ? 1 : 0))
            entry.unsigned(3, type.rawValue)
            entry.unsigned(4, UInt32(bitPattern: descriptor.number))
        }
    }
}
