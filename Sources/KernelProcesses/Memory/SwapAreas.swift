import GuestMemory
import KernelObjects
import KernelTypes
import ProcessModel

/// A swap area of the dead kernel: where on which of its disks its slots are.
struct SwapArea: Sendable {
    /// A stretch of slots that lie together.
    struct Extent: Sendable {
        var first: UInt64
        var count: UInt64
        /// In pages from the start of the partition; like the others at most 2^45, more than a disk has.
        var block: UInt64
    }

    /// `struct swap_info_struct`.
    var address: VirtualAddress
    /// As the guest's kernel calls it: `xvda`, `vda`, `zram0`.
    var disk: String
    /// Where the partition starts on the disk, in sectors of 512 bytes; less than 2^43.
    var firstSector: UInt64
    /// Slots that exist; the first is the header's.
    var slots: UInt64
    /// Ascending.
    var extents: [Extent]
    /// When the disk is one of compressed memory.
    var zram: ZramDevice?

    /// Bytes from the start of the disk; nil for a slot that the area does not have.
    func position(of slot: UInt64) -> UInt64? {
        guard slot < slots else { return nil }
        var low = 0
        var high = extents.count
        while low < high {
            let middle = (low + high) / 2
            if extents[middle].first <= slot { low = middle + 1 } else { high = middle }
        }
        guard low > 0 else { return nil }
        let extent = extents[low - 1]
        guard slot - extent.first < extent.count else { return nil }
        return (extent.block + (slot - extent.first)) << 12 + firstSector << 9
    }
}

extension DeadKernel {
    /// Extents of one area that are believed; a swap file in pieces of 64 KiB has as many in a terabyte.
    private static let extentLimit = 1 << 24

    /// Whether any page was swapped out, of whatever process.
    public var usesSwap: Bool {
        guard let fields = layout.swap else { return false }
        return (0..<32).contains { type in
            guard let area = try? swapAreaAddress(type) else { return false }
            return ((try? reader.value(fields.inUse, of: area)) ?? 0) != 0
        }
    }

    private func swapAreaAddress(_ type: Int) throws(MemoryFault) -> VirtualAddress? {
        guard let fields = layout.swap, let table = manifest.symbols.addresses["swap_info"] else { return nil }
        let area = try reader.memory.pointer(at: table + type * 8)
        guard !area.isNull, try reader.value(fields.flags, of: area) & SwapLayout.used != 0 else { return nil }
        // The table ends before the numbers that stand for pages in migration and the like do.
        if let number = fields.number, try reader.value(number, of: area) != UInt64(type) { return nil }
        return area
    }

    /// The area with this number.
    /// - Throws: `PageSupplyError` when there is none, or it is kept in a way that is not read.
    func swapArea(_ type: Int) throws -> SwapArea {
        if let known = swapAreas[type] { return known }
        guard let fields = layout.swap, let address = try swapAreaAddress(type) else {
            throw PageSupplyError("there is no swap area \(type)")
        }
        if let flag = fields.fileSystemFlag, try reader.value(fields.flags, of: address) & flag != 0 {
            throw PageSupplyError("swap area \(type) is a file that only its file system can read (on NFS, for example)")
        }
        let device = try reader.pointer(fields.device, of: address)
        let disk = try reader.pointer(fields.disk, of: device)
        var sector: UInt64
        if let partition = fields.partition {
            sector = try reader.value(fields.firstSector, of: reader.pointer(partition, of: device))
        } else {
            sector = try reader.value(fields.firstSector, of: device)
        }
        guard sector >> 43 == 0 else { throw MemoryFault(.damaged("partition at sector \(sector)"), at: device) }
        let name = String(decoding: try reader.text(fields.diskName, of: disk), as: UTF8.self)
        var area = SwapArea(
            address: address, disk: name, firstSector: sector, slots: try reader.value(fields.pageLimit, of: address),
            extents: [],
            zram: name.hasPrefix("zram") ? try zramDevice(name, of: disk) : nil)
        var found: [VirtualAddress] = []
        let fault = reader.forEach(
            inRedBlackTree: address + fields.extents.offset, link: fields.extentNode, layout: fields.rbTree,
            limit: Self.extentLimit
        ) { found.append($0) }
        if let fault { throw fault }
        for extent in found {
            let next = SwapArea.Extent(
                first: try reader.value(fields.extentStart, of: extent),
                count: try reader.value(fields.extentCount, of: extent),
                block: try reader.value(fields.extentBlock, of: extent))
            let end = area.extents.last.map { $0.first + $0.count } ?? 0
            guard next.first >= end, next.count > 0, [next.first, next.count, next.block].allSatisfy({ $0 <= 1 << 45 }) else {
                throw MemoryFault(.damaged("extents of a swap area out of order"), at: extent)
            }
            area.extents.append(next)
        }
        swapAreas[type] = area
        return area
    }

    /// Where the contents of a page that was swapped out are: in a frame, for it is in memory still or again, or in its slot, which a disk or memory that is compressed has.
    /// - Throws: `PageSupplyError` when they can be had from none.
    func place(of slot: SwapEntry) throws -> FrameNumber {
        let area = try swapArea(slot.type)
        if let frame = try cachedFrame(of: slot, in: area) { return frame }
        if try isZero(slot, in: area) { return try zeroPage() }
        guard let frame = FrameNumber(slot), area.position(of: slot.offset) != nil else {
            throw PageSupplyError("\(slot) lies beyond the area's end")
        }
        // Whoever was bringing the page back has given its slot up already, and what was kept of it may be gone.
        guard try hasUsers(slot, in: area) else { throw PageSupplyError("\(slot) was being freed") }
        if try zswapPage(of: slot) != nil { return frame }
        if try forgetsEarly(), try cachedPage(of: slot, in: area) != nil {
            throw PageSupplyError("\(slot) was being brought in, and nobody can say whether from zswap")
        }
        if try storedPage(of: slot, in: area) != nil { return frame }
        guard disks[area.disk] != nil else {
            missingDisks.insert(area.disk)
            throw PageSupplyError("\(slot) is on disk \(area.disk), which is not at hand")
        }
        return frame
    }

    /// Reads the contents of slots into `buffer`, which has 4096 bytes for each: out of the kernel's memory, or from their disks.
    func read(_ slots: [SwapEntry], into buffer: UnsafeMutableRawBufferPointer) throws {
        var onDisk = 0..<0
        for (index, slot) in slots.enumerated() {
            guard let page = try storedPage(of: slot, in: swapArea(slot.type)) else {
                onDisk = onDisk.isEmpty ? index..<index + 1 : onDisk.lowerBound..<index + 1
                continue
            }
            try unsafe read(slots, onDisk, into: buffer)
            onDisk = 0..<0
            let contents = try contents(of: page)
            // The part is the page of this slot, and the contents have its size.
            unsafe UnsafeMutableRawBufferPointer(rebasing: buffer[(index << 12)..<((index + 1) << 12)]).copyBytes(
                from: contents)
        }
        try unsafe read(slots, onDisk, into: buffer)
    }

    /// Reads the slots of a range from their disks to their places in `buffer`, which has 4096 bytes for each of all.
    private func read(_ slots: [SwapEntry], _ range: Range<Int>, into buffer: UnsafeMutableRawBufferPointer) throws {
        var next = range.lowerBound
        while next < range.upperBound {
            let first = slots[next]
            let area = try swapArea(first.type)
            guard let disk = disks[area.disk], let position = area.position(of: first.offset) else {
                throw PageSupplyError("\(first) is on disk \(area.disk), and cannot be read")
            }
            // Slots that lie together are read together.
            var count = 1
            while next + count < range.upperBound, slots[next + count].type == first.type,
                area.position(of: slots[next + count].offset) == position &+ UInt64(count) << 12
            {
                count += 1
            }
            // The part is the pages of these slots.
            let part = unsafe UnsafeMutableRawBufferPointer(rebasing: buffer[(next << 12)..<((next + count) << 12)])
            try unsafe disk.read(at: position, into: part)
            next += count
        }
    }

    /// TMPFS_MAGIC and HUGETLBFS_MAGIC (include/uapi/linux/magic.h): a file of tmpfs has swap areas behind it and no disk.
    static let tmpfsMagic: UInt64 = 0x0102_1994
    static let hugetlbfsMagic: UInt64 = 0x9584_58f6

    /// `s_magic` of the filesystem whose file a page cache is of.
    func filesystem(ofMapping mapping: VirtualAddress) throws(MemoryFault) -> UInt64 {
        let inode = try reader.pointer(layout.files.pages.host, of: mapping)
        let superblock = try reader.pointer(layout.memory.inodeSuperblock, of: inode)
        return try reader.value(layout.memory.superblockMagic, of: superblock)
    }

    func hasSwapArea(_ type: Int) -> Bool { ((try? swapAreaAddress(type)) ?? nil) != nil }

    // MARK: Where pages are on their way

    /// The frame of a page in the swap cache, when it holds the page's contents.
    private func cachedFrame(of slot: SwapEntry, in area: SwapArea) throws -> FrameNumber? {
        guard let page = try cachedPage(of: slot, in: area) else { return nil }
        // A page that is being read from the disk is not valid yet.
        let pages = layout.files.pages
        guard try reader.value(pages.pageFlags, of: page) >> pages.upToDateBit & 1 == 1 else { return nil }
        guard let fields = layout.swap else { return nil }
        let first = SwapEntry(value: try reader.value(fields.pagePrivate, of: page))
        let count = try pageCount(ofPage: page)
        guard first.type == slot.type, first.offset <= slot.offset, slot.offset - first.offset < count else {
            throw MemoryFault(.damaged("page of \(first) in the swap cache's place for \(slot)"), at: page)
        }
        return FrameNumber(try frame(ofPage: page).rawValue &+ (slot.offset - first.offset))
    }

    /// `struct page` of the folio that the swap cache has for a slot.
    private func cachedPage(of slot: SwapEntry, in area: SwapArea) throws -> VirtualAddress? {
        guard let fields = layout.swap else { return nil }
        if fields.clusterTable != nil {
            let entry = try tableEntry(of: slot, in: area)
            switch entry & 3 {
            // SWP_TB_PFN_MARK, since 7.0: a frame number in the place of the pointer.
            case 2:
                guard let map = try reader.variable("vmemmap_base") else { return nil }
                let page = VirtualAddress(map &+ (entry & (1 << 42 &- 1)) >> 2 &* UInt64(layout.pages.size))
                return try head(ofPage: page)
            case 0 where entry != 0: return VirtualAddress(entry)
            default: return nil
            }
        }
        guard let spaces = manifest.symbols.addresses["swapper_spaces"] else {
            throw PageSupplyError("this kernel's swap cache is not known")
        }
        let table = try reader.memory.pointer(at: spaces + slot.type * 8)
        guard !table.isNull else { return nil }
        let space = table + Int(slot.offset >> SwapLayout.spaceShift) * fields.addressSpaceSize
        let array = space + layout.pages.addressSpacePages.offset
        // By the whole offset; since 6.12 (commit 7aad25b4b4c3) by the part within the space.
        for index in Set([slot.offset, slot.offset & (1 << SwapLayout.spaceShift &- 1)]) {
            // A value is the shadow of a page that has left.
            if let entry = try reader.entry(at: index, inXArray: array, layout: layout.xarray), entry & 1 == 0 {
                return try head(ofPage: VirtualAddress(entry))
            }
        }
        return nil
    }

    /// The word for a slot in the table of its cluster (mm/swap_table.h); 0 when there is none.
    private func tableEntry(of slot: SwapEntry, in area: SwapArea) throws -> UInt64 {
        guard let fields = layout.swap, let clusters = fields.clusters, let field = fields.clusterTable,
            fields.slotsInCluster > 0,
            slot.offset < area.slots
        else { return 0 }
        let cluster =
            try reader.pointer(clusters, of: area.address) + Int(slot.offset / fields.slotsInCluster) * fields.clusterSize
        let table = try reader.pointer(field, of: cluster)
        guard !table.isNull else { return 0 }
        return try reader.memory.integer(at: table + Int(slot.offset % fields.slotsInCluster) * 8, as: UInt64.self)
    }

    /// Whether the page was all zeros, and its slot never written.
    private func isZero(_ slot: SwapEntry, in area: SwapArea) throws -> Bool {
        guard let fields = layout.swap, slot.offset < area.slots else { return false }
        if let field = fields.zeroMap {
            let map = try reader.pointer(field, of: area.address)
            guard !map.isNull else { return false }
            let word = try reader.memory.integer(at: map + Int(slot.offset / 64) * 8, as: UInt64.self)
            return word >> (slot.offset % 64) & 1 == 1
        }
        guard fields.clusterTable != nil else { return false }
        // SWP_TB_ZERO_FLAG, since 7.2 in place of the map: below the four bits of the count.
        return try tableEntry(of: slot, in: area) >> 59 & 1 == 1
    }

    /// Whether anybody has the slot. Without a count of its users a slot in a table is free when its word is 0 (SWP_TB_NULL).
    private func hasUsers(_ slot: SwapEntry, in area: SwapArea) throws -> Bool {
        guard let fields = layout.swap, slot.offset < area.slots else { return false }
        if let users = fields.users {
            let map = try reader.pointer(users, of: area.address)
            return try reader.memory.integer(at: map + Int(slot.offset), as: UInt8.self) & ~SwapLayout.hasCache != 0
        }
        return try fields.clusterTable == nil || tableEntry(of: slot, in: area) != 0
    }

    private func zeroPage() throws -> FrameNumber {
        guard let page = manifest.symbols.addresses["empty_zero_page"] else {
            throw PageSupplyError("the zero page is not known")
        }
        return try reader.memory.translate(page).frame
    }
}
