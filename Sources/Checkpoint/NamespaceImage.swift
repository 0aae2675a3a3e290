import ProcessModel

/// `utsns_entry`, `ipc_*_entry` and `timens_entry` of images/.
enum NamespaceImage {
    static func uts(_ namespace: UTSNamespace) -> ProtobufMessage {
        ProtobufMessage { entry in
            entry.data(1, namespace.nodeName.bytes)
            entry.data(2, namespace.domainName.bytes)
        }
    }

    /// - Parameter namespace: the group's own; nil: it was in that of the guest, whose clocks these are.
    static func clocks(_ clocks: GuestClocks, in namespace: TimeNamespace?) -> ProtobufMessage {
        func ahead(_ nanoseconds: UInt64, _ offset: Int64?) -> UInt64 {
            UInt64(clamping: Int64(clamping: nanoseconds).addingReportingOverflow(offset ?? 0).partialValue)
        }
        let monotonic = ahead(clocks.monotonicNanoseconds, namespace?.monotonicOffset)
        let boottime = ahead(clocks.boottimeNanoseconds, namespace?.boottimeOffset)
        return ProtobufMessage { entry in
            for (field, nanoseconds) in [(UInt32(1), monotonic), (2, boottime)] {
                entry.message(field) { time in
                    time.unsigned(1, nanoseconds / 1_000_000_000)
                    time.unsigned(2, nanoseconds % 1_000_000_000)
                }
            }
        }
    }

    static func variables(_ namespace: IPCNamespace) -> ProtobufMessage {
        ProtobufMessage { entry in
            entry.repeated(1, namespace.semaphoreLimits)
            for (index, limit) in namespace.messageLimits.enumerated() { entry.unsigned(UInt32(2 + index), limit) }
            // auto_msgmni has had no meaning since 3.19 (commit 0050ee059f7f).
            entry.unsigned(5, UInt32(0))
            entry.unsigned(6, namespace.largestSegment)
            entry.unsigned(7, namespace.segmentPages)
            entry.unsigned(8, namespace.segmentCount)
            // CRIU attaches each segment to fill it, and with shm_rmid_forced it would go when it is detached (shm_may_destroy of ipc/shm.c).
            entry.flag(9, namespace.removesUnusedSegments && namespace.segments.isEmpty)
            let limits = namespace.posixQueueLimits
            for index in 0..<3 { entry.unsigned(UInt32(10 + index), index < limits.count ? limits[index] : 0) }
            if limits.count == 5 {
                entry.unsigned(13, limits[3])
                entry.unsigned(14, limits[4])
            }
            // msg_next_id comes before sem_next_id in the image.
            for (field, kind) in [(15, 1), (16, 0), (17, 2)]
            where kind < namespace.nextIDs.count && namespace.nextIDs[kind] != -1 {
                entry.unsigned(UInt32(field), UInt32(bitPattern: namespace.nextIDs[kind]))
            }
        }
    }

    private static func description(_ permissions: IPCPermissions) -> ProtobufMessage {
        ProtobufMessage { entry in
            entry.unsigned(1, UInt32(bitPattern: permissions.key))
            entry.unsigned(2, permissions.uid)
            entry.unsigned(3, permissions.gid)
            entry.unsigned(4, permissions.creatorUID)
            entry.unsigned(5, permissions.creatorGID)
            // The bits above are no permissions, and mean other things to shmget.
            entry.unsigned(6, permissions.mode & 0o777)
            entry.unsigned(7, UInt32(bitPattern: permissions.id))
        }
    }

    static func segment(_ segment: SharedSegment) -> ProtobufMessage {
        ProtobufMessage { entry in
            entry.message(1, description(segment.permissions))
            entry.unsigned(2, segment.restoredBytes)
            entry.flag(3, true)
            // SHM_HUGETLB
            if segment.hugePageBytes != 0 { entry.unsigned(4, MemoryImage.hugePageSize(segment.hugePageBytes) | 0o4000) }
        }
    }

    static func queue(_ queue: MessageQueue) -> ProtobufMessage {
        ProtobufMessage { entry in
            entry.message(1, description(queue.permissions))
            entry.unsigned(2, UInt32(clamping: queue.limitBytes))
            entry.unsigned(3, UInt32(clamping: queue.messages.count))
        }
    }

    static func message(_ message: MessageQueue.Message) -> ProtobufMessage {
        ProtobufMessage { entry in
            entry.unsigned(1, UInt64(bitPattern: message.type))
            entry.unsigned(2, UInt32(clamping: message.bytes.count))
        }
    }

    static func set(_ set: SemaphoreSet) -> ProtobufMessage {
        ProtobufMessage { entry in
            entry.message(1, description(set.permissions))
            entry.unsigned(2, UInt32(clamping: set.values.count))
        }
    }

    /// What follows a message or a set fills whole words of 8 bytes.
    static func padded(_ bytes: [UInt8]) -> [UInt8] {
        bytes + Array(repeating: 0, count: (8 - bytes.count % 8) % 8)
    }
}

extension SharedSegment {
    /// The size that CRIU asks for. It takes what is attached of one that is smaller than its huge pages for a part of something
    /// (fixup_sysv_shmems of criu/shmem.c).
    var restoredBytes: UInt64 { hugePageBytes == 0 ? sizeBytes : wholeBytes }
}
