import GuestMemory
import KernelObjects
import KernelTypes
import ProcessModel

/// What zsmalloc's memory is: a zspage is a few pages that need not lie together, divided into objects of one size, also across the border of two pages.
extension DeadKernel {
    /// - Throws: `PageSupplyError` when this kernel's zsmalloc is not understood.
    func zsmalloc() throws -> ZsmallocLayout {
        if let knownZsmalloc { return knownZsmalloc }
        guard let types = try types(of: "zsmalloc", having: "zspage") else {
            throw PageSupplyError("the kernel has no types of its allocator zsmalloc")
        }
        guard let found = ZsmallocLayout(types) else { throw PageSupplyError("this kernel's zsmalloc is not understood") }
        knownZsmalloc = found
        return found
    }

    /// The kernel's own types where it has the structure, else those of a module.
    func types(of module: String, having structure: String) throws(MemoryFault) -> TypeTable? {
        if manifest.types.has(structure) { return manifest.types }
        guard let types = try moduleTypes(module), types.has(structure) else { return nil }
        return types
    }

    /// The bytes of an object that was allocated for `count` of them.
    /// - Parameters:
    ///   - handle: the address of the word that tells the object's place (`handle_to_obj`).
    ///   - pools: each `struct zs_pool` that it may be in.
    func zsmallocBytes(of handle: UInt64, count: Int, in pools: [VirtualAddress]) throws -> [UInt8] {
        let layout = try zsmalloc()
        guard handle != 0, handle % 8 == 0 else {
            throw MemoryFault(.damaged("handle of zsmalloc"), at: VirtualAddress(handle))
        }
        let place = try reader.memory.integer(at: VirtualAddress(handle), as: UInt64.self)
        if let encoding = zsmallocEncoding {
            // What was right for one object is so for all.
            guard let object = try zsmallocObject(at: place, encoding, handle, pools, layout) else {
                throw MemoryFault(.damaged("no object of zsmalloc where its handle leads"), at: VirtualAddress(handle))
            }
            return try bytes(of: object, count: count, layout)
        }
        for encoding in ZsmallocEncoding.known {
            guard let object = try? zsmallocObject(at: place, encoding, handle, pools, layout) else { continue }
            // The number 0 is written alike with and without a tag.
            if object.number != 0 { zsmallocEncoding = encoding }
            return try bytes(of: object, count: count, layout)
        }
        throw MemoryFault(.damaged("no object of zsmalloc where its handle leads"), at: VirtualAddress(handle))
    }

    private struct ZsmallocObject {
        var zspage: VirtualAddress
        var pool: VirtualAddress
        var sizeClass: VirtualAddress
        /// `struct page` of the page that it begins in.
        var page: VirtualAddress
        var number: UInt64
        /// Where it begins in its page, with the handle.
        var offset: Int
        var headerSize: Int
        /// Without the handle.
        var room: Int
    }

    /// What a place means in one encoding; nil when there is no object of that handle.
    private func zsmallocObject(
        at place: UInt64, _ encoding: ZsmallocEncoding, _ handle: UInt64, _ pools: [VirtualAddress], _ layout: ZsmallocLayout
    ) throws -> ZsmallocObject? {
        let frame = FrameNumber(place >> encoding.frameShift)
        let number = (place & ~(~0 << encoding.frameShift)) >> encoding.tagBits
        // As many objects as the smallest class has in the longest zspage, with room to spare.
        guard frame < source.frameLimit, number < 1 << 14, place & ~(~0 << encoding.tagBits) == 0 else { return nil }
        let page = try self.page(ofFrame: frame)
        let zspage = try reader.pointer(layout.zspage, of: page)
        guard zspage.isKernel, try reader.value(layout.magic, of: zspage) == ZsmallocLayout.magicValue else { return nil }
        let pool = try reader.pointer(layout.pool, of: zspage)
        guard pools.contains(pool) else { return nil }
        let index = try reader.value(layout.classIndex, of: zspage)
        guard index < UInt64(layout.classes.count) else { return nil }
        let sizeClass = try reader.pointer(layout.classes.element(Int(index)), of: pool)
        let size = try reader.value(layout.classSize, of: sizeClass)
        guard size > UInt64(ZsmallocLayout.handleSize), size <= ZsmallocLayout.largestClass, size % 8 == 0 else { return nil }
        let offset = Int(number * size % UInt64(FrameNumber.size))
        // A huge object fills its page, which keeps the handle apart from it.
        let isHuge = try reader.value(layout.isHuge, of: zspage) == 1
        guard !isHuge || number == 0 else { return nil }
        let owner =
            try isHuge ? reader.value(layout.handle, of: page) : reader.memory.integer(at: address(ofFrame: frame) + offset)
        guard owner == handle | ZsmallocLayout.allocatedTag else { return nil }
        let headerSize = isHuge ? 0 : ZsmallocLayout.handleSize
        return ZsmallocObject(
            zspage: zspage, pool: pool, sizeClass: sizeClass, page: page, number: number, offset: offset,
            headerSize: headerSize, room: Int(size) - headerSize)
    }

    private func bytes(of object: ZsmallocObject, count: Int, _ layout: ZsmallocLayout) throws -> [UInt8] {
        guard count >= 0, count <= object.room else {
            throw MemoryFault(.damaged("\(count) bytes in an object of zsmalloc for \(object.room)"), at: object.zspage)
        }
        // Objects of as many bytes are all of one class (`get_size_class_index`); several sizes can share one.
        let sizeIndex =
            (max(count + ZsmallocLayout.handleSize, ZsmallocLayout.smallestClass) - ZsmallocLayout.smallestClass + 15) / 16
        let slot = layout.classes.element(min(sizeIndex, layout.classes.count - 1))
        guard try reader.pointer(slot, of: object.pool) == object.sizeClass else {
            throw MemoryFault(.damaged("\(count) bytes in an object of zsmalloc of another class"), at: object.zspage)
        }
        // An offset is a multiple of 8, so the handle never lies across the border.
        let start = object.offset + object.headerSize
        let inFirst = min(count, FrameNumber.size - start)
        var bytes = try reader.memory.bytes(at: address(ofFrame: frame(ofPage: object.page)) + start, count: inFirst)
        guard inFirst < count else { return bytes }
        let next = try reader.pointer(layout.next, of: object.page)
        let frame = try frame(ofPage: next)
        guard try reader.pointer(layout.zspage, of: next) == object.zspage else {
            throw MemoryFault(.damaged("page after that of an object is of another zspage"), at: next)
        }
        bytes += try reader.memory.bytes(at: address(ofFrame: frame), count: count - inFirst)
        return bytes
    }

    // MARK: Frames as the kernel reads them

    /// Where the kernel has mapped a frame for itself, as it has all of its memory.
    private func address(ofFrame frame: FrameNumber) throws -> VirtualAddress {
        guard let base = try reader.variable("page_offset_base") else {
            throw PageSupplyError("the kernel's own memory is not known")
        }
        return VirtualAddress(base &+ frame.rawValue << 12)
    }

    private func page(ofFrame frame: FrameNumber) throws -> VirtualAddress {
        guard let map = try reader.variable("vmemmap_base") else { throw PageSupplyError("the kernel's page map is not known") }
        return VirtualAddress(map &+ frame.rawValue &* UInt64(layout.pages.size))
    }
}
