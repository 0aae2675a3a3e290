import GuestMemory
import KernelTypes

/// `struct maple_tree` (include/linux/maple_tree.h), which holds the VMAs of a process since Linux 6.1 (commit d4af56c5c7c6).
public struct MapleTreeLayout: Hashable, Sendable {
    let root: Field
    let range: NodeLayout
    let allocation: NodeLayout

    struct NodeLayout: Hashable, Sendable {
        var pivots: Field
        var slots: Field
    }

    public init(_ types: TypeTable) throws(KernelError) {
        root = try types.structure("maple_tree").field("ma_root")
        let range = try types.structure("maple_range_64")
        self.range = NodeLayout(pivots: try range.field("pivot"), slots: try range.field("slot"))
        let allocation = try types.structure("maple_arange_64")
        self.allocation = NodeLayout(pivots: try allocation.field("pivot"), slots: try allocation.field("slot"))
    }
}

extension KernelReader {
    private enum MapleNodeType: UInt64 {
        case dense = 0
        case leaf64, range64, arange64
    }

    /// The entries of a maple tree in ascending order, each with the range of indices that it stands for.
    /// - Returns: why the walk ended early; nil when it was whole.
    public func forEach(
        inMapleTree tree: VirtualAddress, layout: MapleTreeLayout, limit: Int,
        _ body: (VirtualAddress, ClosedRange<UInt64>) -> Void
    ) -> MemoryFault? {
        var remaining = limit
        do throws(MemoryFault) {
            let entry = try value(layout.root, of: tree)
            if entry == 0 { return nil }
            if entry & 3 == 2, entry > 4096 {
                try walk(entry, range: 0...UInt64.max, depth: 0, layout: layout, remaining: &remaining, body)
            } else {
                body(VirtualAddress(entry), 0...0)
            }
            return nil
        } catch {
            return error
        }
    }

    private func walk(
        _ encoded: UInt64, range: ClosedRange<UInt64>, depth: Int, layout: MapleTreeLayout, remaining: inout Int,
        _ body: (VirtualAddress, ClosedRange<UInt64>) -> Void
    ) throws(MemoryFault) {
        // MAPLE_HEIGHT_MAX is 31; a deeper walk is a cycle.
        let node = VirtualAddress(encoded & ~0xff)
        guard depth < 31 else { throw MemoryFault(.damaged("maple tree deeper than 31 nodes"), at: node) }
        let type = MapleNodeType(rawValue: encoded >> 3 & 0xf)
        let shape: MapleTreeLayout.NodeLayout
        switch type {
        case .leaf64, .range64: shape = layout.range
        case .arange64: shape = layout.allocation
        default: throw MemoryFault(.damaged("maple node of type \(encoded >> 3 & 0xf)"), at: node)
        }
        let maximum = range.upperBound
        var start = range.lowerBound
        for slot in 0..<shape.slots.count {
            let isLast = slot == shape.slots.count - 1
            let pivot = isLast ? maximum : try value(shape.pivots.element(slot), of: node)
            let entry = try value(shape.slots.element(slot), of: node)
            // A pivot of 0 was never set: the node's last range ends with this slot.
            let end = pivot == 0 ? maximum : pivot
            guard start <= end, end <= maximum else {
                throw MemoryFault(.damaged("maple node whose pivots do not ascend"), at: node)
            }
            if entry != 0 {
                guard remaining > 0 else { throw MemoryFault(.damaged("maple tree with too many entries"), at: node) }
                remaining -= 1
                if type == .leaf64 {
                    // Entries with the two lowest bits 10 are the tree's own (XA_ZERO_ENTRY).
                    if entry & 3 != 2 { body(VirtualAddress(entry), start...end) }
                } else {
                    try walk(entry, range: start...end, depth: depth + 1, layout: layout, remaining: &remaining, body)
                }
            }
            if pivot == 0 || pivot >= maximum { break }
            start = pivot + 1
        }
    }
}
