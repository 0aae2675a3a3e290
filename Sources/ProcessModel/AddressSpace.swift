import GuestMemory

/// `struct mm_struct`, without its pages (see `PageSupply`).
public struct AddressSpace: Sendable {
    public var startCode = VirtualAddress(rawValue: 0)
    public var endCode = VirtualAddress(rawValue: 0)
    public var startData = VirtualAddress(rawValue: 0)
    public var endData = VirtualAddress(rawValue: 0)
    public var startStack = VirtualAddress(rawValue: 0)
    public var startBreak = VirtualAddress(rawValue: 0)
    public var currentBreak = VirtualAddress(rawValue: 0)
    public var argumentsStart = VirtualAddress(rawValue: 0)
    public var argumentsEnd = VirtualAddress(rawValue: 0)
    public var environmentStart = VirtualAddress(rawValue: 0)
    public var environmentEnd = VirtualAddress(rawValue: 0)
    /// `saved_auxv`: pairs of type and value, AT_NULL last.
    public var auxiliaryVector: [UInt64] = []
    /// SUID_DUMP_* from `mm->flags`: 0, 1 or 2.
    public var dumpable: Int32 = 1
    /// MMF_DISABLE_THP.
    public var transparentHugePagesDisabled = false
    /// `mm->def_flags` has VM_LOCKED: mlockall(MCL_FUTURE).
    public var locksFutureMappings = false
    /// VM_LOCKONFAULT beside it: mlockall(MCL_FUTURE | MCL_ONFAULT).
    public var locksFutureMappingsOnFault = false
    /// MEMBARRIER_STATE_* of `membarrier_state` (include/linux/sched/mm.h): what was registered with membarrier(2).
    public var memoryBarriers: UInt32 = 0
    /// MMF_HAS_MDWE: prctl(PR_SET_MDWE).
    public var refusesExecutableGain = false
    /// Protection keys that pkey_alloc(2) has given out, by their bits; key 0 is everybody's.
    public var protectionKeys: UInt16 = 1
    /// MMF_DUMP_*: which kinds of memory go into a core dump, as /proc/PID/coredump_filter has it.
    public var coredumpFilter = AddressSpace.defaultCoredumpFilter
    /// MMF_DUMP_FILTER_DEFAULT with CONFIG_CORE_DUMP_DEFAULT_ELF_HEADERS, as distributions have it.
    public static let defaultCoredumpFilter: UInt32 = 0x33
    /// `mm->context.ldt`: modify_ldt(2) was called.
    public var hasSegmentDescriptors = false
    /// MMF_VM_MERGE_ANY: prctl(PR_SET_MEMORY_MERGE).
    public var mergesFutureMappings = false
    /// `mm->exe_file`, in the group's table of open files.
    public var executable: FileID?
    /// Ascending, not overlapping.
    public var mappings: [Mapping] = []
    /// Pages of mappings that MADV_GUARD_INSTALL made untouchable. Ascending.
    public var guardRegions: [Range<VirtualAddress>] = []
    /// `mm->ioctx_table`.
    public var asynchronousIO: [AsynchronousIO] = []

    public init() {}
}

/// A context of asynchronous I/O, as io_setup(2) makes it (`struct kioctx`).
public struct AsynchronousIO: Sendable, Hashable {
    /// Where its ring is mapped; its name too.
    public var ring: VirtualAddress
    public var ringBytes: UInt64
    /// Requests that were not done.
    public var requestsUnderWay: Int

    public init(ring: VirtualAddress, ringBytes: UInt64, requestsUnderWay: Int) {
        self.ring = ring
        self.ringBytes = ringBytes
        self.requestsUnderWay = requestsUnderWay
    }
}

/// `struct vm_area_struct`.
public struct Mapping: Sendable, Hashable {
    public enum Kind: Sendable, Hashable {
        /// No file, or the private anonymous part of one made without.
        case anonymous
        /// The brk area (start ≤ brk and end ≥ start_brk).
        case heap
        /// The area of the main stack.
        case stack
        case privateFile(FileID)
        case sharedFile(FileID)
        /// MAP_SHARED | MAP_ANONYMOUS, /dev/zero shared.
        case sharedAnonymous(SharedMemoryID)
        /// A mapping of a memfd, shared or private; its open file gives flags and inode. Areas of huge pages (MAP_HUGETLB) are that too, as CRIU has them.
        case memfd(FileID, isPrivate: Bool)
        /// System V shared memory: an attached segment of an IPC namespace, which is named by its inode number.
        case systemVSharedMemory(SharedMemoryID, id: Int32, namespace: UInt32, isWritable: Bool)
        /// The rings of a packet socket.
        case packetRing(FileID, isPrivate: Bool)
        /// The ring of a context of asynchronous I/O, whose pages are the file's.
        case asynchronousIORing(InodeIdentity)
        case vdso
        case vvar
        /// `vsyscall` and other areas of the kernel's that each process has and nobody saves.
        case kernelGate
        /// What cannot be brought back: device memory, io_uring…, in words.
        case unsupported(String)
    }

    public var start: VirtualAddress
    /// Exclusive.
    public var end: VirtualAddress
    /// Offset into the file or shared memory, in bytes.
    public var offsetBytes: UInt64
    /// PROT_* (1 read, 2 write, 4 execute).
    public var protection: UInt32
    public var kind: Kind
    /// Size of its pages where they are hugetlb's; 0: they are not.
    public var hugePageBytes: UInt64 = 0
    /// VM_GROWSDOWN.
    public var growsDown: Bool
    /// VM_LOCKED.
    public var isLocked: Bool
    /// VM_NORESERVE.
    public var isNoReserve: Bool
    /// Bit n: MADV_n was given (MADV_HUGEPAGE 14, NOHUGEPAGE 15, DONTDUMP 16, MERGEABLE 12, DONTFORK 10, WIPEONFORK 18).
    public var adviceBits: UInt64
    /// The protection key that pkey_mprotect(2) gave it; 0: none.
    public var protectionKey: UInt8 = 0
    /// VM_LOCKONFAULT: mlock2(MLOCK_ONFAULT), which locks a page when it is first touched.
    public var isLockedOnFault = false
    /// `vma->vm_policy`: mbind(2) was called for it.
    public var hasMemoryPolicy = false

    public init(
        start: VirtualAddress, end: VirtualAddress, offsetBytes: UInt64, protection: UInt32, kind: Kind,
        growsDown: Bool = false,
        isLocked: Bool = false, isNoReserve: Bool = false, adviceBits: UInt64 = 0
    ) {
        self.start = start
        self.end = end
        self.offsetBytes = offsetBytes
        self.protection = protection
        self.kind = kind
        self.growsDown = growsDown
        self.isLocked = isLocked
        self.isNoReserve = isNoReserve
        self.adviceBits = adviceBits
    }
}

/// An inode of the kernel's internal tmpfs, with pages of its own: a shared anonymous mapping or a memfd.
public struct SharedMemory: Sendable, Hashable {
    public var sizeBytes: UInt64
    /// Number of the inode; with `device` unique in the guest.
    public var inode: UInt64
    public var device: UInt64
    /// nil: an anonymous mapping.
    public var memfd: Memfd?
    /// Size of its pages where they are hugetlb's; 0: they are not.
    public var hugePageBytes: UInt64 = 0
    /// What an anonymous one is when it has to be named: a memfd of these attributes.
    public var asMemfd: Memfd?

    public init(sizeBytes: UInt64, inode: UInt64, device: UInt64, memfd: Memfd? = nil) {
        self.sizeBytes = sizeBytes
        self.inode = inode
        self.device = device
        self.memfd = memfd
        self.asMemfd = nil
    }

    /// What a memfd has beyond its pages.
    public struct Memfd: Sendable, Hashable {
        /// As given to `memfd_create`, without the "memfd:" that the kernel puts before it.
        public var name: KernelString
        public var uid: UInt32
        public var gid: UInt32
        public var mode: UInt32
        /// F_SEAL_*.
        public var seals: UInt32

        public init(name: KernelString, uid: UInt32, gid: UInt32, mode: UInt32, seals: UInt32) {
            self.name = name
            self.uid = uid
            self.gid = gid
            self.mode = mode
            self.seals = seals
        }
    }
}
