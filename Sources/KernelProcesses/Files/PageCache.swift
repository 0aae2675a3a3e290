import GuestMemory
import KernelObjects
import KernelTypes

/// `struct page`, `struct folio` and `struct address_space` (include/linux/mm_types.h, include/linux/fs.h).
struct PageCacheLayout: Sendable {
    let pageSize: Int
    let pageFlags: Field
    /// In the first tail page of a compound one; `_flags_1` of the folio since Linux 6.6 (commit ebc1baf5c9b4).
    let order: Field
    /// The order is the lowest byte of a word of flags.
    let orderIsInFlags: Bool
    let pages: Field
    let pageCount: Field
    let host: Field
    let upToDateBit: UInt64
    let headBit: UInt64

    init(_ types: TypeTable) throws(KernelError) {
        let page = try types.structure("page")
        pageSize = page.size
        pageFlags = try page.field(anyOf: "flags.f", "flags")
        if let old = page.optional("compound_order") {
            order = Field(offset: page.size + old.offset, size: old.size)
            orderIsInFlags = false
        } else {
            order = try types.structure("folio").field(anyOf: "_flags_1.f", "_flags_1", "_folio_order")
            orderIsInFlags = order.size == 8
        }
        let mapping = try types.structure("address_space")
        pages = try mapping.field("i_pages")
        pageCount = try mapping.field("nrpages")
        host = try mapping.field("host")
        guard let upToDate = types.enumerator("PG_uptodate"), let head = types.enumerator("PG_head"), 0..<64 ~= upToDate,
            0..<64 ~= head
        else { throw .noField(type: "pageflags", field: "PG_uptodate or PG_head") }
        upToDateBit = UInt64(upToDate)
        headBit = UInt64(head)
    }
}

/// From `struct page` to the frame it stands for: the kernel keeps them in one array at `vmemmap_base` (CONFIG_SPARSEMEM_VMEMMAP).
struct FrameTable: Sendable {
    let base: VirtualAddress
    let pageSize: Int

    /// Where the array is without KASLR of memory regions and with 4 levels (arch/x86/include/asm/pgtable_64_types.h).
    private static let fixedBase: UInt64 = 0xffff_ea00_0000_0000

    init(kernel: KernelReader, layout: PageCacheLayout) {
        let variable = try? kernel.variable("vmemmap_base")
        base = VirtualAddress((variable ?? nil) ?? Self.fixedBase)
        pageSize = max(layout.pageSize, 1)
    }

    /// The frame of `page`.
    /// - Throws: `damaged` for a pointer that does not point at an element of the array.
    func frame(of page: VirtualAddress) throws(MemoryFault) -> FrameNumber {
        let offset = page.rawValue &- base.rawValue
        // 2^40 frames are 4 PiB, the most that x86-64 addresses.
        guard page >= base, offset % UInt64(pageSize) == 0, offset / UInt64(pageSize) < 1 << 40 else {
            throw MemoryFault(.damaged("no struct page"), at: page)
        }
        return FrameNumber(offset / UInt64(pageSize))
    }
}

extension KernelReader {
    /// Copies bytes out of the frame behind a `struct page`, which may be the first of several.
    func bytes(
        ofPage page: VirtualAddress, offset: Int, count: Int, frames: FrameTable
    ) throws(MemoryFault) -> [UInt8] {
        guard offset >= 0, count >= 0, offset <= 1 << 22, count <= 1 << 22 else {
            throw MemoryFault(.damaged("\(count) bytes at \(offset) of a page"), at: page)
        }
        return try bytes(at: PhysicalAddress(frames.frame(of: page).address.rawValue &+ UInt64(offset)), count: count)
    }

    /// Copies bytes out of the guest's memory.
    func bytes(at start: PhysicalAddress, count: Int) throws(MemoryFault) -> [UInt8] {
        var position = start
        var result: [UInt8] = []
        result.reserveCapacity(count)
        while result.count < count {
            let length = min(count - result.count, FrameNumber.size - position.offsetInFrame)
            var piece = [UInt8](repeating: 0, count: length)
            var fault: MemoryFault?
            unsafe piece.withUnsafeMutableBytes { buffer in
                // The piece ends at the end of its frame at the latest.
                do throws(MemoryFault) { unsafe try memory.source.read(position, into: buffer) } catch { fault = error }
            }
            if let fault { throw fault }
            result += piece
            position = PhysicalAddress(position.rawValue &+ UInt64(length))
        }
        return result
    }

    /// How many pages the folio that starts at `page` has, as a power of two.
    func order(ofFolio page: VirtualAddress, layout: PageCacheLayout) throws(MemoryFault) -> UInt64 {
        let flags = try value(layout.pageFlags, of: page)
        guard flags >> layout.headBit & 1 == 1 else { return 0 }
        let order = try value(layout.order, of: page) & 0xff
        guard order <= 18 else { throw MemoryFault(.damaged("folio of order \(order)"), at: page) }
        return order
    }
}
