import GuestMemory
import ProcessModel

/// `mm_entry` and `vma_entry` of images/mm.proto and vma.proto.
enum MemoryImage {
    /// Status bits of criu/include/image.h.
    private enum Status {
        static let regular: UInt32 = 1 << 0
        static let vdso: UInt32 = 1 << 3
        static let heap: UInt32 = 1 << 5
        static let filePrivate: UInt32 = 1 << 6
        static let fileShared: UInt32 = 1 << 7
        static let anonymousShared: UInt32 = 1 << 8
        static let anonymousPrivate: UInt32 = 1 << 9
        static let systemV: UInt32 = 1 << 10
        static let socket: UInt32 = 1 << 11
        static let vvar: UInt32 = 1 << 12
        static let asynchronousIO: UInt32 = 1 << 13
        static let memfd: UInt32 = 1 << 14
        static let untouchable: UInt32 = 1 << 16
    }

    /// MAP_* of mmap.
    private enum MapFlag {
        static let shared: UInt32 = 0x01
        static let isPrivate: UInt32 = 0x02
        static let anonymous: UInt32 = 0x20
        static let growsDown: UInt32 = 0x100
        static let locked: UInt32 = 0x2000
        static let noReserve: UInt32 = 0x4000
        static let hugePages: UInt32 = 0x4_0000
    }

    /// AT_VECTOR_SIZE of CRIU on x86-64: longer vectors are refused by it.
    private static let auxiliaryVectorLimit = 44

    /// - Parameter executable: identifier of the executable's entry in the files image.
    static func message(_ space: AddressSpace, executable: UInt32, files: (FileID) -> UInt32?, openFlags: (FileID) -> UInt32)
        -> ProtobufMessage
    {
        let addresses = [
            space.startCode, space.endCode, space.startData, space.endData, space.startStack, space.startBreak,
            space.currentBreak,
            space.argumentsStart, space.argumentsEnd, space.environmentStart, space.environmentEnd,
        ]
        return ProtobufMessage { entry in
            for (index, address) in addresses.enumerated() { entry.unsigned(UInt32(index + 1), address.rawValue) }
            entry.unsigned(12, executable)
            entry.repeated(13, auxiliaryVector(space.auxiliaryVector))
            for mapping in withOneDataArea(space.mappings) {
                if let area = area(mapping, files: files, openFlags: openFlags) { entry.message(14, area) }
            }
            for region in space.guardRegions { entry.message(14, guardArea(region)) }
            entry.signed(15, space.dumpable)
            for context in space.asynchronousIO.sorted(by: { $0.ring < $1.ring }) { entry.message(16, ring(context)) }
            if space.transparentHugePagesDisabled { entry.flag(17, true) }
        }
    }

    /// `aio_ring_entry`.
    private static func ring(_ context: AsynchronousIO) -> ProtobufMessage {
        ProtobufMessage { entry in
            entry.unsigned(1, context.ring.rawValue)
            entry.unsigned(2, UInt64(requests(of: context)))
            entry.unsigned(3, context.ringBytes)
        }
    }

    /// The number that io_setup(2) has to be given for a ring of this size: the kernel doubles it, adds two, and rounds up to whole pages (`aio_setup_ring`,
    /// fs/aio.c; `aio_estimate_nr_reqs`, criu/aio.c of 3.17). The ring's head has 32 bytes, an event too.
    static func requests(of context: AsynchronousIO) -> UInt32 {
        let events = context.ringBytes / 32
        return events < 5 ? 0 : UInt32(clamping: (events - 3) / 2)
    }

    /// The data of the vDSO as one area. The kernel has two since 6.13, and CRIU's restore takes the last of an image for all of it (vdso_proxify,
    /// criu/pie/parasite-vdso.c of 4.2): it finds another size than the kernel's then, and leaves the vDSO of before in place, full of jumps to the new one.
    private static func withOneDataArea(_ mappings: [Mapping]) -> [Mapping] {
        var result: [Mapping] = []
        for mapping in mappings {
            if mapping.kind == .vvar, let last = result.last, last.kind == .vvar, last.end == mapping.start {
                result[result.count - 1].end = mapping.end
            } else {
                result.append(mapping)
            }
        }
        return result
    }

    /// Up to and with AT_NULL.
    private static func auxiliaryVector(_ vector: [UInt64]) -> [UInt64] {
        var result: [UInt64] = []
        for index in stride(from: 0, to: min(vector.count, auxiliaryVectorLimit) - 1, by: 2) {
            result += [vector[index], vector[index + 1]]
            if vector[index] == 0 { break }
        }
        return result
    }

    /// Whether an address space's own pages of this mapping are saved.
    static func holdsPages(_ kind: Mapping.Kind) -> Bool {
        switch kind {
        case .anonymous, .heap, .stack, .privateFile, .vdso, .asynchronousIORing, .memfd(_, isPrivate: true): true
        case .sharedFile, .sharedAnonymous, .memfd, .systemVSharedMemory, .packetRing, .vvar, .kernelGate, .unsupported: false
        }
    }

    /// `vma_entry`; nil for what nobody saves.
    private static func area(_ mapping: Mapping, files: (FileID) -> UInt32?, openFlags: (FileID) -> UInt32) -> ProtobufMessage?
    {
        var status = Status.regular
        var flags: UInt32
        var object: UInt64 = 0
        var fileFlags: UInt32?
        var advice = mapping.adviceBits
        switch mapping.kind {
        case .anonymous, .stack, .heap:
            status |= Status.anonymousPrivate | (mapping.kind == .heap ? Status.heap : 0)
            flags = MapFlag.isPrivate | MapFlag.anonymous
        case .privateFile(let file):
            status |= Status.filePrivate
            flags = MapFlag.isPrivate
            object = UInt64(files(file) ?? 0)
            fileFlags = openFlags(file) & 3
        case .sharedFile(let file):
            status |= Status.fileShared
            flags = MapFlag.shared
            object = UInt64(files(file) ?? 0)
            fileFlags = openFlags(file) & 3
        case .sharedAnonymous(let memory):
            status |= Status.anonymousShared
            flags = MapFlag.shared | MapFlag.anonymous
            object = UInt64(memory.imageNumber)
        case .systemVSharedMemory(_, let id, _, let isWritable):
            status |= Status.anonymousShared | Status.systemV
            flags = MapFlag.shared | MapFlag.anonymous
            object = UInt64(UInt32(bitPattern: id))
            fileFlags = isWritable ? 2 : 0
        case .memfd(let file, let isPrivate):
            status |= Status.memfd | (isPrivate ? Status.filePrivate : Status.fileShared)
            flags = isPrivate ? MapFlag.isPrivate : MapFlag.shared
            object = UInt64(files(file) ?? 0)
            fileFlags = openFlags(file) & 3
        case .packetRing(let file, let isPrivate):
            status |= Status.socket
            flags = isPrivate ? MapFlag.isPrivate : MapFlag.shared
            object = UInt64(files(file) ?? 0)
            fileFlags = openFlags(file) & 3
        case .asynchronousIORing:
            // It is made by io_setup(2), not by mmap(2).
            status = Status.asynchronousIO
            flags = MapFlag.shared
            // The kernel has its file open for both.
            fileFlags = 2
        case .vdso:
            status |= Status.vdso | Status.anonymousPrivate
            flags = MapFlag.isPrivate | MapFlag.anonymous
        case .vvar:
            status = 1 | Status.vvar | Status.anonymousPrivate
            flags = MapFlag.isPrivate | MapFlag.anonymous
            // MADV_DONTDUMP, as CRIU sees it on a live one.
            advice |= 1 << 16
        case .kernelGate, .unsupported: return nil
        }
        if mapping.hugePageBytes != 0 { flags |= MapFlag.hugePages | hugePageSize(mapping.hugePageBytes) }
        if mapping.growsDown { flags |= MapFlag.growsDown }
        if mapping.isLocked { flags |= MapFlag.locked }
        if mapping.isNoReserve { flags |= MapFlag.noReserve }
        return ProtobufMessage { entry in
            entry.unsigned(1, mapping.start.rawValue)
            entry.unsigned(2, mapping.end.rawValue)
            entry.unsigned(3, isAnonymous(mapping.kind) ? 0 : mapping.offsetBytes)
            entry.unsigned(4, object)
            entry.unsigned(5, mapping.protection)
            entry.unsigned(6, flags)
            entry.unsigned(7, status)
            entry.zigzag(8, Int64(-1))
            if advice != 0 { entry.unsigned(9, advice) }
            if let fileFlags { entry.unsigned(10, fileFlags) }
        }
    }

    /// The size of huge pages as mmap(2) and memfd_create(2) are told it: its power of two, from bit 26 on (MAP_HUGE_SHIFT, MFD_HUGE_SHIFT).
    static func hugePageSize(_ bytes: UInt64) -> UInt32 { UInt32(bytes.trailingZeroBitCount & 0x3f) << 26 }

    /// Pages made untouchable lie in other areas and come after all of them; CRIU before 4.2 does not know them and fails.
    private static func guardArea(_ region: Range<VirtualAddress>) -> ProtobufMessage {
        ProtobufMessage { entry in
            entry.unsigned(1, region.lowerBound.rawValue)
            entry.unsigned(2, region.upperBound.rawValue)
            for field: UInt32 in 3...6 { entry.unsigned(field, UInt64(0)) }
            entry.unsigned(7, Status.untouchable)
            entry.zigzag(8, Int64(-1))
        }
    }

    private static func isAnonymous(_ kind: Mapping.Kind) -> Bool {
        switch kind {
        case .anonymous, .heap, .stack, .vdso, .vvar, .asynchronousIORing: true
        default: false
        }
    }
}

extension SharedMemoryID {
    /// The number in the names of images, which System V shared memory is in by its id: those are no larger than Int32.max.
    var imageNumber: UInt32 { rawValue | 0x8000_0000 }
}
