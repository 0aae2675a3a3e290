import GuestMemory
import ProcessModel
import Testing

@testable import KernelProcesses

/// Pages that the dead kernel had compressed in its memory: all of the cases' can be had, and damage to what leads to one is seen.
@Suite(.enabled(if: DumpUnderTest.path != nil, DumpUnderTest.comment), .serialized)
struct CompressedPagesTests {
    /// The slots of a group's pages.
    private static func slots(of name: String, in kernel: DeadKernel) throws -> [SwapEntry] {
        let read = try #require(kernel.groups().first { $0.group.name == name }, "the dump is of no guest with this case in it")
        var pages = read.pages
        // The walk would end at a page that is on a disk.
        kernel.disks["vda"] = UnreadableDisk()
        var slots: [SwapEntry] = []
        for object in read.group.addressSpaces.keys.map({ MemoryObject.addressSpace($0) })
            + read.group.sharedMemory.keys.map({ MemoryObject.sharedMemory($0) })
        {
            try pages.forEachBatch(of: object) { runs in
                for run in runs {
                    slots += (0..<UInt64(run.count)).compactMap { FrameNumber(run.frame.rawValue + $0).swapSlot }
                }
                return true
            }
        }
        return slots
    }

    /// An object of zsmalloc that holds a page of the group, smaller than a page.
    private static func object(of name: String, in kernel: DeadKernel) throws -> (slot: SwapEntry, object: StoredObject) {
        for slot in try slots(of: name, in: kernel) {
            guard case .object(let object)? = try kernel.storedPage(of: slot, in: kernel.swapArea(slot.type)),
                case .zsmalloc = object.allocator, object.format != nil
            else { continue }
            return (slot, object)
        }
        throw PageSupplyError("no object of zsmalloc")
    }

    @Test(arguments: ["zram", "zswapped"]) func allPagesCanBeHad(group: String) throws {
        let kernel = try DumpUnderTest.kernel()
        var filled = 0
        var plain = 0
        var compressed = 0
        for slot in try Self.slots(of: group, in: kernel) {
            guard let page = try kernel.storedPage(of: slot, in: kernel.swapArea(slot.type)) else { continue }
            #expect(try kernel.contents(of: page).count == FrameNumber.size)
            switch page {
            case .filled: filled += 1
            case .object(let object): if object.format == nil { plain += 1 } else { compressed += 1 }
            }
        }
        // Of the 3840 pages of the case 192 are one word and 192 cannot be compressed; its script sees to it that enough of each are there.
        #expect(compressed > 1000)
        if group == "zram" { #expect(filled > 0 && plain > 20) }
    }

    enum Damage: CaseIterable, Sendable { case handle, place, owner, magic, classOfObject, length }

    @Test(arguments: Damage.allCases) func damageOnTheWayIsSeen(damage: Damage) throws {
        var slot = SwapEntry(type: 0, offset: 0)
        let kernel = try DumpUnderTest.kernel { kernel, memory in
            let found = try Self.object(of: "zram", in: kernel)
            slot = found.slot
            let layout = try kernel.zsmalloc()
            let handle = VirtualAddress(found.object.handle)
            let place = try kernel.reader.memory.integer(at: handle, as: UInt64.self)
            let map = try #require(try kernel.reader.variable("vmemmap_base"))
            let page = VirtualAddress(map) + Int(place >> 24) * kernel.layout.pages.size
            let zspage = try kernel.reader.pointer(layout.zspage, of: page)
            let device = try #require(try kernel.swapArea(slot.type).zram)
            let position = try #require(try kernel.swapArea(slot.type).position(of: slot.offset))
            let entry = device.table + Int(position >> 12) * device.layout.entrySize
            func change(_ address: VirtualAddress, _ change: (UInt64) -> UInt64) throws {
                memory.write(change(try kernel.reader.memory.integer(at: address)), at: try kernel.physical(address))
            }
            switch damage {
            // One that leads to another object of as many bytes would be as good as the right one.
            case .handle: try change(entry + device.layout.handle.offset) { $0 + 4 }
            case .place: try change(handle) { $0 + 1 << 24 }
            case .owner: try change(handle) { $0 + 2 }
            case .magic: try change(zspage) { ~$0 }
            case .classOfObject: try change(zspage) { $0 ^ 1 << 8 }
            case .length: try change(entry + device.layout.flags.offset) { $0 - 32 }
            }
        }
        #expect(throws: (any Error).self) {
            let page = try #require(try kernel.storedPage(of: slot, in: kernel.swapArea(slot.type)))
            _ = try kernel.contents(of: page)
        }
    }
}

private final class UnreadableDisk: DiskSource {
    func read(at offset: UInt64, into buffer: UnsafeMutableRawBufferPointer) throws(DiskFault) { throw DiskFault("not there") }
}
