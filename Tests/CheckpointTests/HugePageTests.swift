import GuestMemory
import ProcessModel
import Testing

@testable import Checkpoint

@Suite struct HugePageTests {
    private static let size: UInt64 = 2 << 20
    private static let memory = SharedMemoryID(rawValue: 2)

    @Test func aMemfdOfHugePagesSaysTheirSize() throws {
        var sample = SyntheticGroup()
        sample.group.sharedMemory[Self.memory]?.hugePageBytes = Self.size
        let scratch = ScratchDirectory()
        let record = GroupCheckpoint.save(sample.group, pages: &sample.supply, toVolume: scratch.path)
        #expect(record.verdict == .full)
        // Less than one page of the memfd is used; the kernel gives none in parts.
        #expect(record.reservedPages == [RecoveryManifest.ReservedPages(sizeBytes: Self.size, count: 1)])
        let inodes = try ImageContents(parsing: contents(of: "\(scratch.path)/groups/sample/images/memfd.img")).entries
        // MFD_HUGE_2MB | MFD_HUGETLB
        #expect(inodes.map { $0.message.number(8) } == [21 << 26 | 4])
    }

    @Test func aPrivateMappingReservesAllOfItself() {
        var space = AddressSpace()
        let mapping = { (start: UInt64, pages: UInt64, isPrivate: Bool) in
            var mapping = Mapping(
                start: VirtualAddress(start), end: VirtualAddress(start + pages * Self.size), offsetBytes: 0, protection: 3,
                kind: .memfd(FileID(rawValue: 8), isPrivate: isPrivate))
            mapping.hugePageBytes = Self.size
            return mapping
        }
        space.mappings = [mapping(0x4000_0000, 3, true), mapping(0x5000_0000, 2, false)]
        var sample = SyntheticGroup()
        sample.group.addressSpaces = [AddressSpaceID(rawValue: 1): space]
        sample.group.sharedMemory = [Self.memory: SharedMemory(sizeBytes: 5 * Self.size, inode: 1, device: 1)]
        sample.group.sharedMemory[Self.memory]?.hugePageBytes = Self.size
        #expect(ReservedPages.needed(by: sample.group) == [RecoveryManifest.ReservedPages(sizeBytes: Self.size, count: 8)])
    }

    /// Sizes in a dead kernel's memory can be any number.
    @Test func damagedSizesMakeNoSumThatIsNone() {
        var sample = SyntheticGroup()
        for number in 1...2 as ClosedRange<UInt32> {
            var memory = SharedMemory(sizeBytes: .max, inode: UInt64(number), device: 1)
            memory.hugePageBytes = Self.size
            sample.group.sharedMemory[SharedMemoryID(rawValue: 90 + number)] = memory
        }
        #expect(ReservedPages.needed(by: sample.group).map(\.count) == [UInt64(Int64.max) / Self.size + 1])
    }
}
