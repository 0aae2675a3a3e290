/// The page tables of an x86-64 address space (Intel SDM volume 3, chapter 4.5; Linux: arch/x86/include/asm/pgtable_types.h).
public struct PageTables: Hashable, Sendable {
    /// The top table: PGD with 4 levels, with 5 as well (the P4D lies below it then).
    public var root: PhysicalAddress
    /// 4, or 5 on a kernel with `pgtable_l5_enabled`.
    public var levels: Int
    /// The encryption bit of AMD SME, to be cleared from each entry; 0 without it.
    public var encryptionMask: UInt64

    public init(root: PhysicalAddress, levels: Int, encryptionMask: UInt64 = 0) {
        self.root = root
        self.levels = levels
        self.encryptionMask = encryptionMask
    }
}

/// One entry of a page table that maps a page or says why it does not.
public struct PageTableEntry: Hashable, Sendable {
    public var rawValue: UInt64
    /// Bytes that the entry covers: 4 KiB, 2 MiB or 1 GiB.
    public var size: UInt64

    public init(rawValue: UInt64, size: UInt64) {
        self.rawValue = rawValue
        self.size = size
    }

    static let addressMask: UInt64 = 0x000f_ffff_ffff_f000
    static let present: UInt64 = 1 << 0
    /// `_PAGE_PROTNONE`: present for Linux, not for the CPU (PROT_NONE and NUMA balancing); the same bit as GLOBAL.
    static let protNone: UInt64 = 1 << 8

    public var isPresent: Bool { rawValue & Self.present != 0 }
    public var isProtNone: Bool { !isPresent && rawValue & Self.protNone != 0 }
    public var isWritable: Bool { rawValue & 2 != 0 }
    public var isDirty: Bool { rawValue & 0x40 != 0 }
    /// An entry that holds neither a page nor a swap entry.
    public var isEmpty: Bool { rawValue == 0 }

    /// Where the kernel has noted that the page is, for an entry that maps none although it is not empty.
    ///
    /// The type is in the uppermost five bits, and the offset, inverted against L1TF, below them (arch/x86/include/asm/pgtable_64.h).
    public var swapEntry: SwapEntry? {
        guard !isPresent, !isProtNone, !isEmpty else { return nil }
        return SwapEntry(type: Int(rawValue >> 59), offset: (~rawValue & ~(0x1f << 59)) >> 9)
    }

    /// A page that MADV_GUARD_INSTALL made untouchable (since 6.13): a swap entry of the last of 32 types, SWP_PTE_MARKER, with
    /// the marker PTE_MARKER_GUARD (include/linux/swapops.h).
    public var isGuard: Bool { swapEntry == SwapEntry(type: 31, offset: 4) }

    /// The first frame that the entry maps, nil when none is.
    ///
    /// Linux inverts the frame number of PROT_NONE entries against L1TF (arch/x86/include/asm/pgtable-invert.h).
    public var frame: FrameNumber? {
        guard isPresent || isProtNone else { return nil }
        let bits = isPresent ? rawValue : ~rawValue
        return FrameNumber((bits & Self.addressMask & ~(size &- 1)) >> 12)
    }
}

extension PageTables {
    static let largePage: UInt64 = 1 << 7

    /// Translates one address.
    /// - Throws: `notMapped` or `notPresent` at `address`; what the source throws for a table that cannot be read.
    public func translate(_ address: VirtualAddress, in source: any FrameSource) throws(MemoryFault) -> PhysicalAddress {
        let entry = try entry(for: address, in: source)
        guard let frame = entry.frame else {
            throw MemoryFault(entry.isEmpty ? .notMapped : .notPresent(entry: entry.rawValue), at: address)
        }
        return PhysicalAddress(frame.address.rawValue | (address.rawValue & (entry.size &- 1)))
    }

    /// The entry that decides about `address`: a leaf, or the empty entry on the way to it.
    public func entry(for address: VirtualAddress, in source: any FrameSource) throws(MemoryFault) -> PageTableEntry {
        var table = root
        var shift = UInt64(12 + 9 * (levels - 1))
        while true {
            let index = (address.rawValue >> shift) & 0x1ff
            var raw: UInt64 = 0
            try readEntry(PhysicalAddress(table.rawValue &+ index &* 8), into: &raw, from: source)
            let entry = PageTableEntry(rawValue: source.ownEntry(raw & ~encryptionMask), size: 1 << shift)
            if shift == 12 || !entry.isPresent || (raw & Self.largePage != 0 && shift <= 30) { return entry }
            table = PhysicalAddress(entry.rawValue & PageTableEntry.addressMask)
            shift -= 9
        }
    }

    private func readEntry(
        _ address: PhysicalAddress, into entry: inout UInt64, from source: any FrameSource
    ) throws(MemoryFault) {
        var fault: MemoryFault?
        unsafe withUnsafeMutableBytes(of: &entry) { buffer in
            // The buffer is the 8 bytes of `entry`, and an aligned entry never crosses a frame.
            do throws(MemoryFault) { unsafe try source.read(address, into: buffer) } catch { fault = error }
        }
        if let fault { throw fault }
    }

    /// Calls `body` for each entry in `range` that is not empty, in ascending order.
    ///
    /// Empty parts are skipped a table at a time, so the cost follows what is mapped, not the size of `range`.
    /// - Parameter range: in the lower half, where processes live.
    /// - Parameter body: gets the address of the first byte the entry covers, which can lie before `range`, and the
    ///   entry. Large pages come as one entry.
    /// - Parameter budget: of the walks over the same address space.
    /// - Parameter fault: told of each table that cannot be read, and the first address it would have covered.
    /// - Throws: `damaged` when the budget is spent, and what `fault` and `body` throw.
    public func forEachEntry(
        in range: Range<VirtualAddress>, from source: any FrameSource, within budget: inout PageTableBudget,
        fault: (VirtualAddress, MemoryFault) throws -> Void,
        _ body: (VirtualAddress, PageTableEntry) throws -> Void
    ) throws {
        try walk(
            table: root, level: levels, base: 0, range: range, source: source, budget: &budget, fault: fault, body: body)
    }

    private func walk(
        table: PhysicalAddress, level: Int, base: UInt64, range: Range<VirtualAddress>, source: any FrameSource,
        budget: inout PageTableBudget, fault: (VirtualAddress, MemoryFault) throws -> Void,
        body: (VirtualAddress, PageTableEntry) throws -> Void
    ) throws {
        guard budget.take() else {
            throw MemoryFault(.damaged("more page tables than there is memory for"), at: VirtualAddress(base))
        }
        var entries = InlineArray<512, UInt64>(repeating: 0)
        let aligned = PhysicalAddress(table.rawValue & ~0xfff)
        do throws(MemoryFault) {
            try Self.readTable(aligned, into: &entries, from: source)
        } catch let error {
            try fault(VirtualAddress(max(base, range.lowerBound.rawValue)), error)
            return
        }
        let shift = UInt64(12 + 9 * (level - 1))
        let size: UInt64 = 1 << shift
        let first = range.lowerBound.rawValue <= base ? 0 : Int((range.lowerBound.rawValue &- base) >> shift)
        guard first < 512 else { return }
        for index in first..<512 {
            let address = base &+ UInt64(index) &* size
            if address >= range.upperBound.rawValue { break }
            if entries[index] == 0 { continue }
            let raw = source.ownEntry(entries[index] & ~encryptionMask)
            if raw == 0 { continue }
            let entry = PageTableEntry(rawValue: raw, size: size)
            let isLeaf = level == 1 || !entry.isPresent || (raw & Self.largePage != 0 && level <= 3)
            if isLeaf {
                try body(VirtualAddress(address), entry)
            } else {
                try walk(
                    table: PhysicalAddress(raw & PageTableEntry.addressMask), level: level - 1, base: address, range: range,
                    source: source, budget: &budget, fault: fault, body: body)
            }
        }
    }

    private static func readTable(
        _ table: PhysicalAddress, into entries: inout InlineArray<512, UInt64>, from source: any FrameSource
    ) throws(MemoryFault) {
        var fault: MemoryFault?
        unsafe withUnsafeMutableBytes(of: &entries) { buffer in
            // An InlineArray of 512 words is exactly one frame, and `table` is frame-aligned.
            do throws(MemoryFault) { unsafe try source.read(table, into: buffer) } catch { fault = error }
        }
        if let fault { throw fault }
    }
}

/// How many tables the walks over one address space may meet.
///
/// Tables that lead to each other, or to one and the same table over and over, would make a walk of 2^27 tables out of three frames. The kernel has a frame for each
/// table, in one place of one address space (but for the few of hugetlb that processes share).
public struct PageTableBudget: Sendable {
    private var rest: UInt64

    package init(tables: UInt64) { rest = tables }

    /// - Parameter ranges: how many walks share it; each meets the upper tables again.
    public init(of source: any FrameSource, ranges: Int) {
        rest = source.frameLimit.rawValue &+ UInt64(clamping: ranges) &* 5
    }

    fileprivate mutating func take() -> Bool {
        guard rest > 0 else { return false }
        rest -= 1
        return true
    }
}
