import Testing

@testable import KernelProcesses

@Suite struct Ext4DirectoryTests {
    /// A block of entries, the last one filling it.
    private func block(_ entries: [(inode: UInt32, name: String)], size: Int = 4096) -> [UInt8] {
        var bytes: [UInt8] = []
        for (index, entry) in entries.enumerated() {
            let own = (8 + entry.name.utf8.count + 3) & ~3
            let length = index == entries.count - 1 ? size - bytes.count : own
            bytes += (0..<4).map { UInt8(truncatingIfNeeded: entry.inode >> ($0 * 8)) }
            bytes += [UInt8(length & 0xff), UInt8(length >> 8), UInt8(entry.name.utf8.count), 1]
            bytes += Array(entry.name.utf8) + Array(repeating: 0, count: own - 8 - entry.name.utf8.count)
        }
        return bytes + Array(repeating: 0, count: size - bytes.count)
    }

    @Test func listsNamesThatLeadSomewhere() {
        let names = Ext4Directories.names(
            inBlock: block([(2, "."), (2, ".."), (11, "a"), (0, "removed"), (12, "long name.txt")]))
        #expect(names == ["a", "long name.txt"].map { Array($0.utf8) })
        // An index: one entry without a name over all of the block.
        #expect(Ext4Directories.names(inBlock: block([(0, "")])) == [])
    }

    @Test func takesNoOtherBlockForADirectory() {
        var bytes = block([(11, "a"), (12, "b")])
        bytes[4] = 6
        #expect(Ext4Directories.names(inBlock: bytes) == nil)
        bytes[4] = 0
        #expect(Ext4Directories.names(inBlock: bytes) == nil)
        #expect(Ext4Directories.names(inBlock: block([(11, "a/b")])) == nil)
        #expect(Ext4Directories.names(inBlock: Array(repeating: 0xff, count: 4096)) == nil)
        #expect(Ext4Directories.names(inBlock: Array(repeating: 0, count: 4096)) == nil)
    }

    @Test func namesTheBlocksOfATree() {
        func tree(_ header: [UInt8], _ extents: [[UInt8]]) -> [UInt8] {
            let bytes = header + extents.flatMap { $0 }
            return bytes + Array(repeating: 0, count: 60 - bytes.count)
        }
        let header: [UInt8] = [0x0a, 0xf3, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0]
        let first: [UInt8] = [0, 0, 0, 0, 2, 0, 0, 0, 0x10, 0x27, 0, 0]
        let second: [UInt8] = [2, 0, 0, 0, 1, 0, 1, 0, 5, 0, 0, 0]
        #expect(Ext4Directories.blocks(inTree: tree(header, [first, second])) == [10_000, 10_001, 1 << 32 | 5])
        var gap = second
        gap[0] = 3
        #expect(Ext4Directories.blocks(inTree: tree(header, [first, gap])) == nil)
        var deeper = header
        deeper[6] = 1
        #expect(Ext4Directories.blocks(inTree: tree(deeper, [first, second])) == nil)
        #expect(Ext4Directories.blocks(inTree: Array(repeating: 0, count: 60)) == nil)
        #expect(Ext4Directories.blocks(inTree: []) == nil)
    }
}
