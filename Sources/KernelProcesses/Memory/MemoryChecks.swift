import GuestMemory
import KernelObjects
import KernelTypes
import ProcessModel

/// What the kernel keeps twice of an address space and its pages. A field that a kernel lacks takes its check with it.
struct MemoryChecksLayout: Sendable {
    let areaCount, pageTotal, users, owner: Field?
    /// Counts of pages by kind, in the address space and not yet added up in its tasks (SPLIT_RSS_COUNTING, up to Linux 6.1).
    let resident, residentOfTask: Field?
    /// `struct page` of the top page table points to the address space (pgd_set_mm, arch/x86/mm/pgtable.c).
    let tableOwner: Field?
    let anonymousVMA, root: Field?
    let areaProtection: Field?
    let pageIndex: Field?
    let fileMapping: Field?
    /// MM_ANONPAGES and MM_SWAPENTS (include/linux/mm_types_task.h).
    static let anonymousKind = 1
    static let swappedKind = 2

    init(_ types: TypeTable) {
        let mm = try? types.structure("mm_struct")
        areaCount = mm?.optional("map_count")
        pageTotal = mm?.optional("total_vm")
        users = mm?.optional("mm_users")
        owner = mm?.optional("owner")
        // An array of percpu_counter since 6.2 (commit f1a7941243c1), whose parts are not read.
        let counts = mm?.optional("rss_stat.count")
        let ofTask = (try? types.structure("task_struct"))?.optional("rss_stat.count")
        resident = ofTask == nil ? nil : counts
        residentOfTask = ofTask
        tableOwner = (try? types.structure("page"))?.optional("pt_mm")
        let area = try? types.structure("vm_area_struct")
        anonymousVMA = area?.optional("anon_vma")
        areaProtection = area?.optional("vm_page_prot")
        root = (try? types.structure("anon_vma"))?.optional("root")
        // Under another name since 6.17 (commit 68f2736a8583); the place is the same.
        pageIndex =
            (try? types.structure("page"))?.optional("index") ?? (try? types.structure("page"))?.optional("__folio_index")
        fileMapping = (try? types.structure("file"))?.optional("f_mapping")
    }
}

/// Pages of an address space.
struct PageCounts: Sendable, Hashable, CustomStringConvertible {
    var anonymous = 0
    /// Swapped out, whether they are still in memory as well or not.
    var swapped = 0

    var description: String { "\(anonymous) anonymous pages and \(swapped) that are swapped out" }

    static func += (left: inout Self, right: Self) {
        left.anonymous += right.anonymous
        left.swapped += right.swapped
    }
}

/// What pages of an area must agree with.
struct AreaFacts: Sendable, Hashable {
    /// The number of the area's first page, in its file or where it was born.
    var firstPage: UInt64
    /// The root of the tree of `anon_vma` that all anonymous pages of the area belong to; nil when there are none, or it is not known.
    var anonymousRoot: VirtualAddress?
    var hasAnonymousPages: Bool
    /// `struct address_space` of the mapped file.
    var fileMapping: VirtualAddress?
    /// Pages of the usual size in one of hugetlb's; 1 for other areas.
    var pagesPerHugePage: UInt64 = 1

    /// Whether a page's number is the one wanted. Up to 6.6 (commit a08c7193e4f1) pages of hugetlb have their number among huge pages.
    func isNumber(_ index: UInt64, of wanted: UInt64) -> Bool {
        index == wanted || index.multipliedReportingOverflow(by: pagesPerHugePage).partialValue == wanted
    }
}

extension DeadKernel {
    private func damage(_ what: String, at address: VirtualAddress) -> MemoryFault { MemoryFault(.damaged(what), at: address) }

    /// The counts of an address space against its areas, and its limits against each other.
    func check(_ space: AddressSpace, at mm: VirtualAddress, pageTables root: PhysicalAddress) throws(MemoryFault) {
        let fields = layout.memoryChecks
        if let count = fields.areaCount {
            let promised = Int(try reader.int32(count, of: mm))
            require(
                promised == space.mappings.count, "\(space.mappings.count) areas where the kernel counts \(promised)", at: mm)
        }
        // vm_stat_account adds every mapping; those of hugetlb count as well.
        if let total = fields.pageTotal {
            let pages = space.mappings.reduce(UInt64(0)) { $0 &+ ($1.end.rawValue - $1.start.rawValue) >> 12 }
            let promised = try reader.value(total, of: mm)
            require(promised == pages, "areas of \(pages) pages where the kernel counts \(promised)", at: mm)
        }
        for (start, end) in [
            (space.startCode, space.endCode), (space.startData, space.endData), (space.startBreak, space.currentBreak),
            (space.argumentsStart, space.argumentsEnd), (space.environmentStart, space.environmentEnd),
        ] {
            require(start <= end && end.rawValue >> 56 == 0, "a part of the program that ends before it starts", at: mm)
        }
        require(space.startStack.rawValue >> 56 == 0, "stack in the kernel", at: mm)
        if let owner = fields.tableOwner, let map = try reader.variable("vmemmap_base") {
            let page = VirtualAddress(map &+ root.frame.rawValue &* UInt64(layout.pages.size))
            try require(reader.pointer(owner, of: page) == mm, "page tables of another address space", at: mm)
        }
    }

    /// `mm_struct.owner` (CONFIG_MEMCG) and the count of users against the task that was followed here.
    func checkOwner(of mm: VirtualAddress, leader: TaskAddress, users: Int) throws(MemoryFault) {
        let fields = layout.memoryChecks
        if let count = fields.users {
            let promised = Int(try reader.int32(count, of: mm))
            require(users <= promised, "\(users) users where the kernel counts \(promised)", at: mm)
            guard users == promised, let field = fields.owner else { return }
            let owner = try reader.pointer(field, of: mm)
            if !owner.isNull {
                try require(reader.pointer(layout.task.mm, of: owner) == mm, "memory of another process", at: mm)
            }
        }
    }

    /// How many pages the kernel counts; nil when it cannot be known: a task that was on a CPU may have been at changing it.
    func expectedPages(of mm: VirtualAddress, users: [TaskAddress]) throws(MemoryFault) -> PageCounts? {
        let fields = layout.memoryChecks
        guard let counts = fields.resident, let ofTask = fields.residentOfTask, let count = fields.users,
            Int(try reader.int32(count, of: mm)) == users.count
        else { return nil }
        for task in users { if try cpuNumber(of: task) != nil { return nil } }
        func total(_ kind: Int) throws(MemoryFault) -> Int {
            var total = try reader.signed(counts.element(kind), of: mm)
            for task in users { total &+= try reader.signed(ofTask.element(kind), of: task) }
            return Int(clamping: total)
        }
        return PageCounts(
            anonymous: try total(MemoryChecksLayout.anonymousKind), swapped: try total(MemoryChecksLayout.swappedKind))
    }

    /// A program goes on in code that is mapped.
    func checkInstructionPointer(of thread: DeadThread, in space: AddressSpace, leader: TaskAddress) {
        let address = VirtualAddress(thread.registers.ip)
        let area = space.mappings.first { $0.start <= address && address < $0.end }
        require(
            area.map { $0.protection & 4 != 0 } ?? false, "thread \(thread.tid) goes on at \(address), where no code is",
            at: leader)
    }

    /// VM_READ, VM_WRITE and VM_EXEC are only set where they may be (VM_MAYREAD …, mprotect), VM_SHARED only where sharing may be, and
    /// `vm_page_prot` says the same in the words of page tables (protection_map, arch/x86/mm/pgprot.c).
    func checkFlags(_ flags: UInt64, of area: VirtualAddress) throws(MemoryFault) {
        require(
            flags & 7 & ~(flags >> 4) == 0 && (flags & 8 == 0 || flags & 0x80 != 0),
            "area with flags 0x\(String(flags, radix: 16)), which exclude each other", at: area)
        guard let field = layout.memoryChecks.areaProtection else { return }
        let protection = try reader.value(field, of: area)
        let isReachable = protection & 1 != 0
        let isExecutable = protection >> 63 == 0
        let isWritable = protection & 2 != 0
        require(
            isReachable == (flags & 7 != 0) && (!isReachable || isExecutable == (flags & 4 != 0))
                && (!isWritable || flags & 0xa == 0xa),
            "area with flags 0x\(String(flags, radix: 16)) and page protection 0x\(String(protection, radix: 16))", at: area)
    }

    /// What the area's pages must agree with.
    /// - Parameter hugePageBytes: size of its pages where they are hugetlb's, or 0.
    func facts(ofArea area: VirtualAddress, hugePageBytes: UInt64) throws(MemoryFault) -> AreaFacts {
        let fields = layout.memoryChecks
        var facts = AreaFacts(
            firstPage: try reader.value(layout.memory.offset, of: area), hasAnonymousPages: fields.anonymousVMA == nil)
        if let field = fields.anonymousVMA {
            let node = try reader.pointer(field, of: area)
            facts.hasAnonymousPages = !node.isNull
            if !node.isNull, let root = fields.root { facts.anonymousRoot = try reader.pointer(root, of: node) }
        }
        facts.pagesPerHugePage = max(hugePageBytes / 4096, 1)
        let file = try reader.pointer(layout.memory.file, of: area)
        if !file.isNull, let mapping = fields.fileMapping { facts.fileMapping = try reader.pointer(mapping, of: file) }
        return facts
    }

    /// `empty_zero_page` and the huge zero page, which are mapped where a program has only read.
    private func isZeroPage(_ frame: FrameNumber) throws(MemoryFault) -> Bool {
        if zeroFrames == nil {
            var found: Set<FrameNumber> = []
            if let zero = manifest.symbols.addresses["empty_zero_page"] {
                found.insert(try reader.memory.translate(zero).frame)
            }
            if let huge = try reader.variable("huge_zero_pfn"), huge != .max { found.insert(FrameNumber(huge)) }
            zeroFrames = found
        }
        guard let zeroFrames, manifest.symbols.addresses["empty_zero_page"] != nil else { return true }
        return zeroFrames.contains(frame)
    }

    /// `vmemmap_base`, where the array of `struct page` begins.
    private func pageMap() throws(MemoryFault) -> UInt64 {
        if let knownPageMap { return knownPageMap }
        guard let map = try reader.variable("vmemmap_base") else { throw damage("no vmemmap_base", at: .null) }
        knownPageMap = map
        return map
    }

    /// Whether a page is anonymous, once it is known to be the one that belongs to this address.
    ///
    /// `page->index` is the page's number in its area (linear_page_index), and an anonymous page's `anon_vma` is of the same tree as its area's: both are what
    /// the kernel finds the page's mappings by, so an entry of a page table that leads elsewhere is seen.
    func isAnonymous(_ frame: FrameNumber, at address: VirtualAddress, start: VirtualAddress, _ facts: AreaFacts)
        throws(MemoryFault)
        -> Bool
    {
        let map = try pageMap()
        let size = UInt64(layout.pages.size)
        let own = VirtualAddress(map &+ frame.rawValue &* size)
        let page = try head(ofPage: own)
        guard page <= own, page.rawValue >= map else { throw damage("page of a compound page that does not exist", at: own) }
        let mapping = try reader.value(layout.pages.mapping, of: page)
        // A large page may begin before its area.
        let wanted = facts.firstPage &+ UInt64(bitPattern: Int64(bitPattern: address.rawValue &- start.rawValue) >> 12)
        func index() throws(MemoryFault) -> UInt64? {
            guard let field = layout.memoryChecks.pageIndex else { return nil }
            return try reader.value(field, of: page) &+ (own.rawValue - page.rawValue) / size
        }
        guard mapping & Self.anonymousBit != 0 else {
            if mapping == 0 {
                guard try isZeroPage(FrameNumber((page.rawValue - map) / size)) else {
                    throw damage("page at \(address) that belongs to nobody", at: own)
                }
                return false
            }
            guard facts.fileMapping == nil || facts.fileMapping == VirtualAddress(mapping) else {
                throw damage("page at \(address) of another file", at: own)
            }
            if facts.fileMapping == nil, layout.memoryChecks.fileMapping != nil {
                throw damage("page at \(address) of a file where none is mapped", at: own)
            }
            if let index = try index(), !facts.isNumber(index, of: wanted) {
                throw damage("page at \(address) is page \(index) of its file", at: own)
            }
            return false
        }
        // PAGE_MAPPING_KSM: a merged page belongs to many areas.
        if mapping & 3 == 3 { return true }
        guard facts.hasAnonymousPages else { throw damage("page at \(address) where the area has none", at: own) }
        if let index = try index(), !facts.isNumber(index, of: wanted) {
            throw damage("page at \(address) is that of another address", at: own)
        }
        if let root = facts.anonymousRoot, let field = layout.memoryChecks.root {
            guard try reader.pointer(field, of: VirtualAddress(mapping & ~3)) == root else {
                throw damage("page at \(address) is that of another process", at: own)
            }
        }
        return true
    }
}
