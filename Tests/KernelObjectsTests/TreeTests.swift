import GuestMemory
import KernelObjects
import KernelTypes
import SyntheticMemory
import Testing

@Suite struct TreeTests {
    let memory = SyntheticMemory()
    let tree = VirtualAddress(0xffff_8880_0002_0000)
    let types: TypeTable

    init() throws {
        var types = SyntheticTypes()
        let u8 = types.integer("u8", size: 1)
        let u64 = types.integer("u64", size: 8)
        _ = types.structure("maple_tree", size: 8, [("ma_root", u64, 0)])
        let pivots = types.array(of: u64, count: 15)
        let slots = types.array(of: u64, count: 16)
        _ = types.structure("maple_range_64", size: 256, [("pivot", pivots, 8), ("slot", slots, 128)])
        _ = types.structure("maple_arange_64", size: 256, [("pivot", pivots, 8), ("slot", slots, 128)])
        _ = types.structure("xarray", size: 16, [("xa_flags", u64, 0), ("xa_head", u64, 8)])
        let many = types.array(of: u64, count: 64)
        let marks = types.array(of: u64, count: 3)
        _ = types.structure("xa_node", size: 576, [("shift", u8, 0), ("slots", many, 8), ("marks", marks, 520)])
        self.types = try TypeTable(btf: types.bytes)
    }

    var reader: KernelReader {
        KernelReader(memory: VirtualMemory(source: memory, tables: memory.tables), symbols: SymbolTable(addresses: [:]))
    }

    func node(_ pivots: [UInt64], _ slots: [UInt64], at address: VirtualAddress) {
        memory.place(
            [0] + pivots + Array(repeating: 0, count: 15 - pivots.count) + slots + Array(repeating: 0, count: 16 - slots.count),
            at: address)
    }

    func walkMaple(limit: Int = 1000) throws -> (found: [UInt64], fault: MemoryFault?) {
        var found: [UInt64] = []
        let fault = reader.forEach(inMapleTree: tree, layout: try MapleTreeLayout(types), limit: limit) { entry, _ in
            found.append(entry.rawValue)
        }
        return (found, fault)
    }

    /// A root over two leaves; nodes are 256-byte aligned and their type stands in bits 3 to 6 of the pointer.
    @Test func visitsTheEntriesOfAMapleTree() throws {
        let root = tree + 0x100, left = tree + 0x200, right = tree + 0x300
        memory.place([root.rawValue | 3 << 3 | 2], at: tree)
        node([0xfff], [left.rawValue | 1 << 3 | 2, right.rawValue | 1 << 3 | 2], at: root)
        node([0xf, 0xff, 0xfff], [0x1000, 0, 0x2000], at: left)
        node([0x1fff], [0x3000], at: right)
        let (found, fault) = try walkMaple()
        #expect(found == [0x1000, 0x2000, 0x3000])
        #expect(fault == nil)
    }

    /// Each entry comes with the indices that the pivots give it: what an area's own limits are compared with.
    @Test func entriesOfAMapleTreeHaveTheirRanges() throws {
        let root = tree + 0x100, left = tree + 0x200, right = tree + 0x300
        memory.place([root.rawValue | 3 << 3 | 2], at: tree)
        node([0xfff], [left.rawValue | 1 << 3 | 2, right.rawValue | 1 << 3 | 2], at: root)
        node([0xf, 0xff, 0xfff], [0x1000, 0, 0x2000], at: left)
        node([0x1fff], [0x3000], at: right)
        var ranges: [ClosedRange<UInt64>] = []
        let fault = reader.forEach(inMapleTree: tree, layout: try MapleTreeLayout(types), limit: 10) { ranges.append($1) }
        #expect(fault == nil)
        #expect(ranges == [0...0xf, 0x100...0xfff, 0x1000...0x1fff])
    }

    @Test func pivotsThatDoNotAscendAreDamage() throws {
        memory.place([(tree + 0x100).rawValue | 1 << 3 | 2], at: tree)
        node([0xff, 0x10, 0xfff], [0x1000, 0x2000, 0x3000], at: tree + 0x100)
        let (found, fault) = try walkMaple()
        #expect(found == [0x1000])
        #expect(fault != nil)
    }

    /// A VMA tree with a cycle: the depth of a maple tree is bounded, so the walk is.
    @Test func aCycleInAMapleTreeEnds() throws {
        let root = tree + 0x100
        memory.place([root.rawValue | 2 << 3 | 2], at: tree)
        node([0xfff], [root.rawValue | 2 << 3 | 2, root.rawValue | 2 << 3 | 2], at: root)
        let (_, fault) = try walkMaple()
        #expect(fault != nil)
    }

    @Test func anXArrayWhoseShiftsDoNotFallIsDamaged() throws {
        let layout = try XArrayLayout(types)
        let top = tree + 0x1000
        memory.place([0, top.rawValue | 2], at: tree)
        memory.place([6, 0x9000], at: top)
        memory.place([top.rawValue | 2], at: top + 24)
        var found: [XArrayEntry] = []
        let fault = reader.forEach(inXArray: tree, layout: layout, limit: 100) { found.append($0) }
        #expect(fault != nil)
        #expect(found.map(\.value) == [0x9000])
    }

    /// An array of two levels: single entries, and one at 8 that stands for four indices, as a large folio does.
    private func placeArray() {
        let top = tree + 0x1000, low = tree + 0x2000, high = tree + 0x3000
        memory.place([0, top.rawValue | 2], at: tree)
        memory.place([6, low.rawValue | 2, 0, high.rawValue | 2], at: top)
        var slots = [UInt64](repeating: 0, count: 64)
        slots[1] = 0x9000
        slots[8] = 0x8000
        for sibling in 9...11 { slots[sibling] = 8 << 2 | 2 }
        memory.place([0] + slots, at: low)
        memory.place([0, 0x7001], at: high)
    }

    @Test func findsSingleEntriesOfAnXArray() throws {
        placeArray()
        let layout = try XArrayLayout(types)
        func entry(_ index: UInt64) throws -> UInt64? { try reader.entry(at: index, inXArray: tree, layout: layout) }
        #expect(try entry(1) == 0x9000)
        #expect(try entry(0) == nil)
        #expect(try [8, 9, 11].map { try entry($0) } == [0x8000, 0x8000, 0x8000])
        #expect(try entry(12) == nil)
        #expect(try entry(128) == 0x7001)
        #expect(try entry(64) == nil)
        #expect(try entry(4096) == nil, "beyond what the highest node can hold")
    }

    @Test func entriesOfAnXArrayTellHowManyIndicesTheyStandFor() throws {
        placeArray()
        var found: [XArrayEntry] = []
        let fault = reader.forEach(inXArray: tree, layout: try XArrayLayout(types), limit: 100) { found.append($0) }
        #expect(fault == nil)
        #expect(found.map(\.index) == [1, 8, 128])
        #expect(found.map(\.count) == [1, 4, 1])
    }

    @Test func aLoneEntryOfAnXArrayIsAtZero() throws {
        memory.place([0, 0x5001], at: tree)
        let layout = try XArrayLayout(types)
        #expect(try reader.entry(at: 0, inXArray: tree, layout: layout) == 0x5001)
        #expect(try reader.entry(at: 1, inXArray: tree, layout: layout) == nil)
    }

    @Test func aLookupInAnXArrayWithACycleEnds() throws {
        let layout = try XArrayLayout(types)
        let top = tree + 0x1000
        memory.place([0, top.rawValue | 2], at: tree)
        memory.place([6, top.rawValue | 2], at: top)
        #expect(throws: MemoryFault.self) { try reader.entry(at: 3, inXArray: tree, layout: layout) }
    }
}
