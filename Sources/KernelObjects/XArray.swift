import GuestMemory
import KernelTypes

/// `struct xarray` and `struct xa_node` (include/linux/xarray.h); an IDR and the page cache are such arrays.
public struct XArrayLayout: Hashable, Sendable {
    public let flags: Field
    let head: Field
    let shift: Field
    let slots: Field
    let marks: Field

    public init(_ types: TypeTable) throws(KernelError) {
        let array = try types.structure("xarray")
        flags = try array.field("xa_flags")
        head = try array.field("xa_head")
        let node = try types.structure("xa_node")
        shift = try node.field("shift")
        slots = try node.field("slots")
        marks = try node.field("marks")
    }

    /// `XA_FLAGS_MARK(mark)`: some entry of the array carries the mark. `__GFP_BITS_SHIFT` shifts it by the number of GFP bits,
    /// which BTF does not tell; the marks are the highest three bits that a kernel ever sets in `xa_flags`.
    static let chunk = 64
}

/// An entry of an array, and the marks it carries (bit 0: XA_MARK_0; in the page cache dirty, bit 1: under writeback).
public struct XArrayEntry: Hashable, Sendable {
    public var index: UInt64
    public var value: UInt64
    public var marks: UInt8
    /// Indices that the entry stands for, from `index` on: a power of two.
    public var count: UInt64 = 1

    /// `xa_is_value`: an integer, no pointer; in the page cache of a file the shadow of an evicted page, in tmpfs a swap entry.
    public var isValue: Bool { value & 1 == 1 }
    public var pointer: VirtualAddress { VirtualAddress(value) }
}

extension XArrayEntry {
    /// Whether a page cache has an entry of its own for each page of a folio, all of which lead to its first: up to 5.16 (commit 6b24ca4a1a8d).
    public func isOneOfSeveral(folioPages: UInt64) -> Bool { count == 1 && folioPages > 1 }
}

extension KernelReader {
    /// The entries of an array in ascending order of index. There can be as many as the guest has pages, so none is kept here.
    /// - Returns: why the walk ended early; nil when it was whole.
    /// - Throws: what `body` throws, which ends the walk.
    public func forEach<Failure: Error>(
        inXArray array: VirtualAddress, layout: XArrayLayout, limit: Int, _ body: (XArrayEntry) throws(Failure) -> Void
    ) throws(Failure) -> MemoryFault? {
        var remaining = limit
        var failure: Failure?
        func goesOn(after entry: XArrayEntry) -> Bool {
            do throws(Failure) {
                try body(entry)
                return true
            } catch {
                failure = error
                return false
            }
        }
        var fault: MemoryFault?
        do throws(MemoryFault) {
            let head = try value(layout.head, of: array)
            if Self.isNode(head) {
                _ = try walk(
                    node: VirtualAddress(head & ~3), base: 0, above: 64, layout: layout, remaining: &remaining, goesOn)
            } else if head != 0 {
                // A single entry at index 0 lives in the head; its marks are bits of xa_flags that are not told apart here.
                _ = goesOn(after: XArrayEntry(index: 0, value: head, marks: 0xff))
            }
        } catch {
            fault = error
        }
        if let failure { throw failure }
        return fault
    }

    /// `xa_is_node`: an internal entry above the sibling and reserved ones.
    private static func isNode(_ entry: UInt64) -> Bool { entry & 3 == 2 && entry > 4096 }

    /// The entry that stands for one index; nil when there is none.
    public func entry(at index: UInt64, inXArray array: VirtualAddress, layout: XArrayLayout) throws(MemoryFault) -> UInt64? {
        var entry = try value(layout.head, of: array)
        var above: UInt64 = 64
        while Self.isNode(entry) {
            let node = VirtualAddress(entry & ~3)
            let shift = try value(layout.shift, of: node)
            guard shift < above, shift <= 60, shift % 6 == 0 else {
                throw MemoryFault(.damaged("xarray node of shift \(shift)"), at: node)
            }
            // Only the highest node can be too small for the index.
            guard above < 64 || shift == 60 || index >> (shift + 6) == 0 else { return nil }
            above = shift
            entry = try slot(Int(index >> shift & 0x3f), of: node, layout)
            // `xa_is_sibling`: a part of the entry in another slot.
            if entry & 3 == 2, entry < UInt64(XArrayLayout.chunk) << 2 { entry = try slot(Int(entry >> 2), of: node, layout) }
        }
        // A lone entry in the head is that of index 0.
        guard entry != 0, entry & 3 != 2, above < 64 || index == 0 else { return nil }
        return entry
    }

    private func slot(_ number: Int, of node: VirtualAddress, _ layout: XArrayLayout) throws(MemoryFault) -> UInt64 {
        try memory.integer(at: node + layout.slots.offset + number * 8, as: UInt64.self)
    }

    private func walk(
        node: VirtualAddress, base: UInt64, above: UInt64, layout: XArrayLayout, remaining: inout Int,
        _ goesOn: (XArrayEntry) -> Bool
    ) throws(MemoryFault) -> Bool {
        // Nodes count as well: many may lead to one that is empty.
        guard remaining > 0 else { throw MemoryFault(.damaged("xarray with too many nodes"), at: node) }
        remaining -= 1
        let shift = try value(layout.shift, of: node)
        // Shifts fall by 6 from one level to the next, so a cycle cannot be walked.
        guard shift < above, shift <= 60, shift % 6 == 0 else {
            throw MemoryFault(.damaged("xarray node of shift \(shift)"), at: node)
        }
        let marks = try (0..<3).map { mark throws(MemoryFault) in
            try memory.integer(at: node + layout.marks.offset + mark * 8, as: UInt64.self)
        }
        for slot in 0..<XArrayLayout.chunk {
            let entry = try self.slot(slot, of: node, layout)
            if entry == 0 { continue }
            let index = base &+ UInt64(slot) << shift
            if Self.isNode(entry) {
                guard
                    try walk(
                        node: VirtualAddress(entry & ~3), base: index, above: shift, layout: layout, remaining: &remaining,
                        goesOn)
                else { return false }
            } else if entry & 3 != 2 {
                // Internal entries that are no nodes are siblings of a multi-index entry, or reserved.
                guard remaining > 0 else { throw MemoryFault(.damaged("xarray with too many entries"), at: node) }
                remaining -= 1
                var carried: UInt8 = 0
                for mark in 0..<3 where marks[mark] >> UInt64(slot) & 1 == 1 { carried |= 1 << UInt8(mark) }
                // `xa_mk_sibling`: the following slots of an entry that stands for several.
                var slots = 1
                while slot + slots < XArrayLayout.chunk,
                    try self.slot(slot + slots, of: node, layout) == UInt64(slot) << 2 | 2
                {
                    slots += 1
                }
                let found = XArrayEntry(index: index, value: entry, marks: carried, count: UInt64(slots) << shift)
                guard goesOn(found) else { return false }
            }
        }
        return true
    }
}
