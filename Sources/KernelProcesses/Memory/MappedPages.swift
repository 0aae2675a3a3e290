import GuestMemory
import ProcessModel

/// Entries of page tables of one area, some thousands at a time.
///
/// Each page is looked up in the kernel's array of `struct page`. Pages of a process can lie anywhere in the guest's memory: in the order of their addresses, each
/// would be a look at another place of that array, which is as large as a 64th of the memory. In the order of their frames, neighbours are found together.
struct MappedPages {
    private enum Kind { case unknown, swapped, anonymous, foreign }

    private struct Entry {
        var address: VirtualAddress
        var frame: FrameNumber
        var pages: UInt64
        var kind: Kind
    }

    private let mapping: Mapping
    private let facts: AreaFacts
    private var entries: [Entry] = []
    private var areInOrder = true

    /// 128 MiB of small pages, which take 1 MiB here.
    private static let limit = 32 << 10

    init(_ mapping: Mapping, _ facts: AreaFacts) {
        self.mapping = mapping
        self.facts = facts
    }

    /// Whether it is time to hand them on.
    var areMany: Bool { entries.count >= Self.limit }

    mutating func add(_ address: VirtualAddress, _ frame: FrameNumber, pages: UInt64) {
        if let last = entries.last, last.frame > frame { areInOrder = false }
        entries.append(Entry(address: address, frame: frame, pages: pages, kind: .unknown))
    }

    /// A page that was swapped out; where it is was found out without its `struct page`.
    mutating func add(_ address: VirtualAddress, swappedTo place: FrameNumber) {
        entries.append(Entry(address: address, frame: place, pages: 1, kind: .swapped))
    }

    /// Calls `body` for each page of the area that is anonymous or swapped out, in ascending order of addresses, and forgets all entries.
    /// - Returns: how many there were.
    /// - Throws: for a page that does not belong where it is mapped.
    mutating func handOn(
        of kernel: DeadKernel, _ body: (VirtualAddress, FrameNumber) throws -> Void
    ) throws -> PageCounts {
        let order = areInOrder ? Array(entries.indices) : entries.indices.sorted { entries[$0].frame < entries[$1].frame }
        for index in order where entries[index].kind == .unknown {
            let isAnonymous = try kernel.isAnonymous(
                entries[index].frame, at: entries[index].address, start: mapping.start, facts)
            entries[index].kind = isAnonymous ? .anonymous : .foreign
        }
        var counts = PageCounts()
        for entry in entries where entry.kind != .foreign {
            for index in 0..<entry.pages {
                let page = VirtualAddress(entry.address.rawValue &+ index << 12)
                // A large page can reach beyond its area.
                guard page >= mapping.start, page < mapping.end else { continue }
                if entry.kind == .swapped { counts.swapped += 1 } else { counts.anonymous += 1 }
                try body(page, FrameNumber(entry.frame.rawValue &+ index))
            }
        }
        entries.removeAll(keepingCapacity: true)
        areInOrder = true
        return counts
    }
}
