import Decompression
import GuestMemory
import ProcessModel

/// Where the kernel keeps a page in its own memory that was swapped out.
enum StoredPage {
    /// It keeps none, for all words of the page are this one.
    case filled(UInt64)
    case object(StoredObject)
}

/// A piece of the kernel's memory that has the page, most often compressed.
struct StoredObject {
    enum Allocator {
        /// Each `struct zs_pool` that the object may be in.
        case zsmalloc(pools: [VirtualAddress])
        case zbud
    }

    var allocator: Allocator
    /// What the allocator calls it.
    var handle: UInt64
    /// The bytes that have to precede the page's.
    var header: [UInt8] = []
    /// At most 4096.
    var size: Int
    /// nil for a page that was kept as it is, because it did not become smaller.
    var format: CompressionFormat?
}

extension DeadKernel {
    /// Where in the kernel's memory the contents of a slot are; nil when they are on a disk, as far as the area's device is one.
    func storedPage(of slot: SwapEntry, in area: SwapArea) throws -> StoredPage? {
        // zswap comes before the device, also before one that is zram.
        if let page = try zswapPage(of: slot) { return page }
        guard let device = area.zram else { return nil }
        guard let position = area.position(of: slot.offset) else { throw PageSupplyError("\(slot) lies beyond the area's end") }
        return try page(at: position, on: device)
    }

    /// The 4096 bytes of a page that is in the kernel's memory.
    func contents(of page: StoredPage) throws -> [UInt8] {
        switch page {
        case .filled(let word):
            return (0..<FrameNumber.size).map { UInt8(truncatingIfNeeded: word >> UInt64($0 % 8 * 8)) }
        case .object(let object):
            guard object.size >= 1, object.size <= FrameNumber.size else {
                throw PageSupplyError("a compressed page of \(object.size) bytes")
            }
            let whole =
                switch object.allocator {
                case .zsmalloc(let pools):
                    try zsmallocBytes(of: object.handle, count: object.header.count + object.size, in: pools)
                case .zbud: try zbudBytes(of: object.handle, count: object.header.count + object.size)
                }
            guard whole.starts(with: object.header) else {
                throw MemoryFault(.damaged("page of another slot in zswap"), at: VirtualAddress(object.handle))
            }
            let bytes = Array(whole.dropFirst(object.header.count))
            guard let format = object.format else {
                guard bytes.count == FrameNumber.size else { throw PageSupplyError("a page of \(bytes.count) bytes") }
                return bytes
            }
            return try decompressor.page(from: bytes, format)
        }
    }
}
