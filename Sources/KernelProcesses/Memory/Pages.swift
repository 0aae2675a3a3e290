import GuestMemory
import KernelObjects
import KernelTypes
import ProcessModel

/// Finds the pages of a group's memory and lends their contents.
public struct KernelPages: PageSupply {
    let kernel: DeadKernel
    var spaces: [AddressSpaceID: ReadAddressSpace] = [:]
    /// The page tables behind the group's address spaces.
    package var pageTables: [PageTables] { spaces.sorted { $0.key.rawValue < $1.key.rawValue }.map(\.value.tables) }
    /// `struct address_space` of each shared memory object.
    var sharedMappings: [SharedMemoryID: VirtualAddress] = [:]
    /// The page cache of each file whose name was removed.
    var deletedFiles: [InodeIdentity: VirtualAddress] = [:]

    /// Pages that are told of at once.
    static let batch = 4096

    public mutating func forEachBatch(
        of object: MemoryObject, _ body: ([PageRun]) -> Bool
    ) throws(PageSupplyError) {
        var collector = RunCollector(limit: Self.batch)
        do {
            switch object {
            case .addressSpace(let id):
                guard let space = spaces[id] else { throw PageSupplyError("no address space \(id)") }
                var counts = PageCounts()
                var budget = PageTableBudget(of: kernel.source, ranges: space.value.mappings.count)
                for index in space.value.mappings.indices {
                    counts += try forEachPage(ofArea: index, in: space, within: &budget, &collector, body)
                }
                // What the kernel counts is more than what is there: entries of the page tables were lost.
                if let promised = space.pageCounts, promised != counts {
                    throw PageSupplyError("\(counts) where the kernel counts \(promised)")
                }
            case .sharedMemory(let id):
                guard let mapping = sharedMappings[id] else { throw PageSupplyError("no shared memory \(id)") }
                try forEachPage(ofCache: mapping, &collector, body)
            case .deletedFile(let device, let inode):
                guard let mapping = deletedFiles[InodeIdentity(device: device, inode: inode)] else {
                    throw PageSupplyError("no deleted file with inode \(inode)")
                }
                try forEachPage(ofCache: mapping, &collector, body)
            }
            try collector.flush(body)
        } catch is StopWalk {
        } catch let error as PageSupplyError {
            throw error
        } catch {
            throw PageSupplyError("\(error)")
        }
    }

    public mutating func lend(
        _ frames: [FrameNumber], _ body: ([UnsafeRawBufferPointer]) -> Void
    ) throws(PageSupplyError) {
        var rest = frames[...]
        do {
            while let first = rest.first {
                let isSwapped = first.swapSlot != nil
                let part = rest.prefix { ($0.swapSlot != nil) == isSwapped }.prefix(FrameBatch.limit)
                if isSwapped {
                    unsafe try lendSwapped(part, body)
                } else {
                    // What the source lends is passed on and not kept.
                    unsafe try kernel.source.withFrames(part) { unsafe body($0) }
                }
                rest = rest.dropFirst(part.count)
            }
        } catch {
            throw PageSupplyError("cannot read page contents: \(error)")
        }
    }

    /// Reads what was swapped out from the disks, and lends it.
    private func lendSwapped(_ frames: ArraySlice<FrameNumber>, _ body: ([UnsafeRawBufferPointer]) -> Void) throws {
        var contents = [UInt8](repeating: 0, count: frames.count * FrameNumber.size)
        var failure: (any Error)?
        unsafe contents.withUnsafeMutableBytes { buffer in
            do {
                // The buffer has a page for each frame.
                unsafe try kernel.read(frames.compactMap(\.swapSlot), into: buffer)
                unsafe body([UnsafeRawBufferPointer(buffer)])
            } catch let error {
                failure = error
            }
        }
        if let failure { throw failure }
    }

    public mutating func copy(
        _ frames: [FrameNumber], into buffer: UnsafeMutableRawBufferPointer
    ) throws(PageSupplyError) {
        guard buffer.count == frames.count * FrameNumber.size else {
            throw PageSupplyError("no room for \(frames.count) pages in \(buffer.count) bytes")
        }
        var rest = frames[...]
        do {
            while let first = rest.first {
                let isSwapped = first.swapSlot != nil
                let part = rest.prefix { ($0.swapSlot != nil) == isSwapped }.prefix(FrameBatch.limit)
                let start = (frames.count - rest.count) * FrameNumber.size
                // The part's place among all frames, for which there is room.
                let place = unsafe UnsafeMutableRawBufferPointer(
                    rebasing: buffer[start..<start + part.count * FrameNumber.size])
                if isSwapped {
                    try unsafe kernel.read(part.compactMap(\.swapSlot), into: place)
                } else {
                    try unsafe kernel.source.copy(part, into: place)
                }
                rest = rest.dropFirst(part.count)
            }
        } catch {
            throw PageSupplyError("cannot read page contents: \(error)")
        }
    }

    /// The pages of one area that are its own: for a file, only those that were copied on write.
    @discardableResult
    func forEachPage(
        ofArea area: Int, in space: ReadAddressSpace, within budget: inout PageTableBudget, _ collector: inout RunCollector,
        _ body: ([PageRun]) -> Bool
    ) throws -> PageCounts {
        let mapping = space.value.mappings[area]
        let facts = space.facts[area]
        var counts = PageCounts()
        switch mapping.kind {
        case .sharedFile, .sharedAnonymous, .systemVSharedMemory, .packetRing, .vvar, .kernelGate, .unsupported,
            .memfd(_, isPrivate: false):
            return counts
        case .vdso:
            try forEachPage(ofVDSO: mapping, &collector, body)
            return counts
        case .asynchronousIORing:
            guard let cache = facts.fileMapping else { throw PageSupplyError("the ring at \(mapping.start) has no pages") }
            try forEachPage(ofCache: cache, at: mapping.start, &collector, body)
            return counts
        case .anonymous, .heap, .stack, .privateFile, .memfd(_, isPrivate: true):
            break
        }
        var entries = MappedPages(mapping, facts)
        try space.tables.forEachEntry(
            in: mapping.start..<mapping.end, from: kernel.source, within: &budget,
            fault: { address, fault in throw PageSupplyError("page table for \(address) is unreadable: \(fault)") }
        ) { address, entry in
            if entry.isGuard {
                // Where the area does not say that it has such pages, they are not in the image, and could be touched after a restore.
                if kernel.layout.memory.guardFlag != 0 { return }
                throw PageSupplyError(
                    "page at \(address) was made untouchable (MADV_GUARD_INSTALL), which is not read of this kernel")
            }
            if let slot = entry.swapEntry {
                entries.add(address, swappedTo: try kernel.place(of: slot, size: entry.size, for: "page at \(address)"))
            } else if let first = entry.frame {
                entries.add(address, first, pages: entry.size >> 12)
            }
            if entries.areMany { counts += try entries.handOn(of: kernel) { try collector.add($0, $1, body) } }
        }
        counts += try entries.handOn(of: kernel) { try collector.add($0, $1, body) }
        // The kernel counts those of hugetlb elsewhere (hugetlb_usage).
        return mapping.hugePageBytes == 0 ? counts : PageCounts()
    }

    /// The vDSO is code of the dead kernel, so all of it is saved, also what no page table maps yet: it is in the image that
    /// the kernel mapped it from.
    private func forEachPage(ofVDSO mapping: Mapping, _ collector: inout RunCollector, _ body: ([PageRun]) -> Bool) throws {
        // Renamed in 7.0, when the tool that makes it moved.
        let symbols = kernel.manifest.symbols.addresses
        guard let image = symbols["vdso64_image"] ?? symbols["vdso_image_64"] else {
            throw PageSupplyError("the kernel has no symbol vdso64_image or vdso_image_64")
        }
        let data = try kernel.reader.pointer(kernel.layout.pages.vdsoData, of: image)
        let size = try kernel.reader.value(kernel.layout.pages.vdsoSize, of: image)
        let length = min(size, mapping.end.rawValue - mapping.start.rawValue)
        for offset in stride(from: 0, to: length, by: 4096) {
            let physical = try kernel.reader.memory.translate(data + Int(offset))
            try collector.add(VirtualAddress(mapping.start.rawValue + offset), physical.frame, body)
        }
    }

    /// The pages in a page cache; a value entry of tmpfs is a page that was swapped out, that of another file the shadow of one that was evicted.
    /// - Parameter start: where the first page is.
    private func forEachPage(
        ofCache mapping: VirtualAddress, at start: VirtualAddress = .null, _ collector: inout RunCollector,
        _ body: ([PageRun]) -> Bool
    ) throws {
        let array = mapping + kernel.layout.pages.addressSpacePages.offset
        let filesystem = try kernel.filesystem(ofMapping: mapping)
        let isMemoryFile = filesystem == DeadKernel.tmpfsMagic
        let isHuge = filesystem == DeadKernel.hugetlbfsMagic
        let fault = try kernel.reader.forEach(inXArray: array, layout: kernel.layout.xarray, limit: 1 << 24) { entry in
            if entry.isValue {
                guard isMemoryFile else { throw PageSupplyError("page \(entry.index) of a removed file is on the disk only") }
                try kernel.forEachPage(ofSwapped: entry) { try collector.add($0, $1, body) }
                return
            }
            let flags = try kernel.reader.value(kernel.layout.files.pages.pageFlags, of: entry.pointer)
            if flags >> kernel.layout.files.pages.upToDateBit & 1 == 0 {
                // Of tmpfs it was only reserved (fallocate), and its frame has what somebody else left there: it reads as zeros (shmem_get_folio, mm/shmem.c).
                guard isMemoryFile else { throw PageSupplyError("page \(entry.index) of a removed file was being read") }
                return
            }
            let frame = try kernel.frame(ofPage: entry.pointer)
            let count = try kernel.pageCount(ofPage: entry.pointer)
            // Up to 6.6 (commit a08c7193e4f1) an entry of hugetlbfs stands for a huge page, and counts as one.
            let first = isHuge && entry.count == 1 ? entry.index &* count : entry.index
            guard first >> 50 == 0 else { throw PageSupplyError("page \(first) of a page cache") }
            if !isHuge, entry.isOneOfSeveral(folioPages: count) {
                let page = FrameNumber(frame.rawValue &+ entry.index & (count - 1))
                try collector.add(VirtualAddress(start.rawValue &+ first << 12), page, body)
                return
            }
            for index in 0..<count {
                try collector.add(
                    VirtualAddress(start.rawValue &+ (first &+ index) << 12), FrameNumber(frame.rawValue &+ index), body)
            }
        }
        if let fault { throw PageSupplyError("page cache is unreadable: \(fault)") }
    }
}

extension DeadKernel {
    /// The slots of an entry of tmpfs (`radix_to_swp_entry`, include/linux/swapops.h), which can stand for several that follow each other.
    func forEachPage(
        ofSwapped entry: XArrayEntry, _ body: (VirtualAddress, FrameNumber) throws -> Void
    ) throws {
        let first = SwapEntry(value: entry.value >> 1)
        // The largest folio of tmpfs has 512 pages, and the order of a folio is what an entry stands for.
        guard entry.count <= 512, entry.index >> 50 == 0 else {
            throw PageSupplyError("page \(entry.index) of shared memory with \(entry.count) slots")
        }
        for index in 0..<entry.count {
            let slot = SwapEntry(type: first.type, offset: first.offset &+ index)
            let page = entry.index &+ index
            try body(VirtualAddress(page << 12), place(of: slot, size: 4096, for: "page \(page) of shared memory"))
        }
    }

    /// The pages of a file on tmpfs that were swapped out, ascending.
    func swappedPages(ofMapping mapping: VirtualAddress) throws -> [PageRun] {
        let array = mapping + layout.pages.addressSpacePages.offset
        var runs: [PageRun] = []
        let fault = try reader.forEach(inXArray: array, layout: layout.xarray, limit: 1 << 24) { entry in
            guard entry.isValue else { return }
            try forEachPage(ofSwapped: entry) { runs.append(PageRun(address: $0, frame: $1)) }
        }
        if let fault { throw fault }
        return runs
    }

    /// - Parameter page: what it is the place of, in words.
    func place(of slot: SwapEntry, size: UInt64, for page: String) throws -> FrameNumber {
        guard size == FrameNumber.size, hasSwapArea(slot.type) else {
            throw PageSupplyError("\(page) is neither in memory nor in a swap area: it is in migration, or broken")
        }
        do {
            return try place(of: slot)
        } catch {
            throw PageSupplyError("\(page) is swapped out, and cannot be had: \(error)")
        }
    }
}

/// The receiver has seen enough.
struct StopWalk: Error {}

/// Joins pages that follow each other, in the object and in physical memory, into runs.
struct RunCollector {
    private var runs: [PageRun] = []
    private var pages = 0
    private let limit: Int

    init(limit: Int) { self.limit = limit }

    mutating func add(_ address: VirtualAddress, _ frame: FrameNumber, _ body: ([PageRun]) -> Bool) throws {
        if let last = runs.last, last.address.rawValue &+ UInt64(last.count) << 12 == address.rawValue,
            last.frame.rawValue &+ UInt64(last.count) == frame.rawValue
        {
            runs[runs.count - 1].count += 1
        } else {
            runs.append(PageRun(address: address, frame: frame))
        }
        pages += 1
        if pages == limit { try flush(body) }
    }

    mutating func flush(_ body: ([PageRun]) -> Bool) throws {
        guard !runs.isEmpty else { return }
        let goesOn = body(runs)
        runs.removeAll(keepingCapacity: true)
        pages = 0
        if !goesOn { throw StopWalk() }
    }
}

extension DeadKernel {
    /// PAGE_MAPPING_ANON (include/linux/page-flags.h): set for anonymous pages and, with a second bit, for those merged by KSM.
    static let anonymousBit: UInt64 = 1

    /// The frame that a `struct page` describes.
    func frame(ofPage page: VirtualAddress) throws(MemoryFault) -> FrameNumber {
        guard let map = try reader.variable("vmemmap_base"), page.rawValue >= map,
            (page.rawValue - map) % UInt64(layout.pages.size) == 0
        else { throw MemoryFault(.damaged("page cache entry that is no page"), at: page) }
        return FrameNumber((page.rawValue - map) / UInt64(layout.pages.size))
    }

    /// The first page of the compound page that `page` is part of; `page` itself when it is none, or the first.
    func head(ofPage page: VirtualAddress) throws(MemoryFault) -> VirtualAddress {
        let information = try reader.value(layout.pages.compoundHead, of: page)
        // Bit 0 tells that it is a later page; the rest is the address of the first, or since 7.1 with hugetlb's vmemmap
        // optimization a mask that makes it of the address of any ("mm: rework compound_head() for power-of-2 sizeof(struct page)",
        // include/linux/page-flags.h). No page is described in the uppermost 4 GiB, and a mask is nothing but high bits.
        guard information & 1 == 1 else { return page }
        let rest = information - 1
        let isMask = rest >> 32 == 0xffff_ffff && (0 &- rest) & ((0 &- rest) &- 1) == 0
        return VirtualAddress(isMask ? page.rawValue & rest : rest)
    }

    /// Pages of a compound page of the page cache, 1 for a single one.
    func pageCount(ofPage page: VirtualAddress) throws(MemoryFault) -> UInt64 {
        1 << (try reader.order(ofFolio: page, layout: layout.files.pages))
    }
}
