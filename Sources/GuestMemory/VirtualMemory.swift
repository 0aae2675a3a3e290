/// Reads a virtual address space of the guest, most often its kernel's, through a small cache of pages.
///
/// A dead kernel's memory does not change, so a page read once stays true; for a kernel that still runs call
/// `forget()` between looks. Every read is checked: an address that nothing maps is a `MemoryFault`, never a trap.
///
/// Safe although it owns raw memory: `pages` is allocated once, never handed out, and every use stays inside a slot.
@safe public final class VirtualMemory {
    public let source: any FrameSource
    public let tables: PageTables
    /// Told of each piece that is read, by address and length: how the mutation runner learns what a walk depends on.
    package var observer: ((VirtualAddress, Int) -> Void)?

    private static let slots = 512
    private var tags: [UInt64]
    private let pages: UnsafeMutableRawBufferPointer

    public init(source: any FrameSource, tables: PageTables) {
        self.source = source
        self.tables = tables
        tags = Array(repeating: UInt64.max, count: Self.slots)
        unsafe pages = .allocate(byteCount: Self.slots * FrameNumber.size, alignment: FrameNumber.size)
    }

    deinit { unsafe pages.deallocate() }

    /// Drops what was cached.
    public func forget() { for slot in tags.indices { tags[slot] = .max } }

    /// The physical address behind `address`.
    public func translate(_ address: VirtualAddress) throws(MemoryFault) -> PhysicalAddress {
        try tables.translate(address, in: source)
    }

    /// The cached copy of the page that holds `address`.
    private func page(of address: VirtualAddress) throws(MemoryFault) -> UnsafeRawBufferPointer {
        let number = address.rawValue >> 12
        let slot = Int(truncatingIfNeeded: (number ^ (number >> 9)) % UInt64(Self.slots))
        // `slot` is below `slots`, so the page lies inside the allocation, which lives as long as `self`.
        let page = unsafe UnsafeMutableRawBufferPointer(
            rebasing: pages[slot * FrameNumber.size..<(slot + 1) * FrameNumber.size])
        if tags[slot] != number {
            tags[slot] = .max
            let physical = try translate(address.page)
            unsafe try source.read(physical, into: page)
            tags[slot] = number
        }
        return UnsafeRawBufferPointer(page)
    }

    /// Reads a little-endian integer.
    public func integer<Value: FixedWidthInteger>(at address: VirtualAddress, as: Value.Type = Value.self) throws(MemoryFault)
        -> Value
    {
        let size = MemoryLayout<Value>.size
        let offset = address.offsetInPage
        if offset + size <= FrameNumber.size {
            observer?(address, size)
            let page = unsafe try page(of: address)
            // `offset + size` was checked against the page.
            return unsafe Value(littleEndian: page.loadUnaligned(fromByteOffset: offset, as: Value.self))
        }
        var value: Value = 0
        for (index, byte) in try bytes(at: address, count: size).enumerated() {
            value |= Value(truncatingIfNeeded: byte) << (index * 8)
        }
        return value
    }

    /// Reads a little-endian integer of 1, 2, 4 or 8 bytes, zero-extended. Most of a walk is this, and a generic function would be looked up each time.
    public func unsigned(at address: VirtualAddress, size: Int) throws(MemoryFault) -> UInt64 {
        guard size == 8 || size == 4 || size == 2 || size == 1 else {
            throw MemoryFault(.damaged("field of \(size) bytes read as an integer"), at: address)
        }
        let offset = address.offsetInPage
        guard offset + size <= FrameNumber.size else {
            return try bytes(at: address, count: size).reversed().reduce(0) { $0 << 8 | UInt64($1) }
        }
        observer?(address, size)
        let page = unsafe try page(of: address)
        // `offset + size` was checked against the page.
        return switch size {
        case 8: unsafe UInt64(littleEndian: page.loadUnaligned(fromByteOffset: offset, as: UInt64.self))
        case 4: unsafe UInt64(UInt32(littleEndian: page.loadUnaligned(fromByteOffset: offset, as: UInt32.self)))
        case 2: unsafe UInt64(UInt16(littleEndian: page.loadUnaligned(fromByteOffset: offset, as: UInt16.self)))
        default: unsafe UInt64(page[offset])
        }
    }

    public func pointer(at address: VirtualAddress) throws(MemoryFault) -> VirtualAddress {
        VirtualAddress(try unsigned(at: address, size: 8))
    }

    /// Copies `count` bytes.
    /// - Parameter count: bounded by the caller; more than 64 MiB is refused as damage.
    public func bytes(at address: VirtualAddress, count: Int) throws(MemoryFault) -> [UInt8] {
        guard count >= 0, count <= 64 << 20 else { throw MemoryFault(.damaged("length \(count)"), at: address) }
        var result: [UInt8] = []
        result.reserveCapacity(count)
        var position = address
        while result.count < count {
            let page = unsafe try page(of: position)
            observer?(position, min(count - result.count, FrameNumber.size - position.offsetInPage))
            let length = min(count - result.count, FrameNumber.size - position.offsetInPage)
            // The range ends at the page's end at the latest.
            unsafe result.append(
                contentsOf: UnsafeRawBufferPointer(rebasing: page[position.offsetInPage..<position.offsetInPage + length]))
            position = position + length
        }
        return result
    }

    /// Reads a string up to its zero byte, or up to `limit` bytes where none comes.
    public func string(at address: VirtualAddress, limit: Int) throws(MemoryFault) -> String {
        String(decoding: try zeroTerminated(at: address, limit: limit), as: UTF8.self)
    }

    /// The bytes of such a string, which need be in no encoding.
    public func zeroTerminated(at address: VirtualAddress, limit: Int) throws(MemoryFault) -> [UInt8] {
        var result: [UInt8] = []
        var position = address
        while result.count < limit {
            let page = unsafe try page(of: position)
            for offset in position.offsetInPage..<FrameNumber.size {
                // `offset` stays inside the page.
                let byte = unsafe page[offset]
                observer?(position.page + offset, 1)
                if byte == 0 || result.count == limit { return result }
                result.append(byte)
            }
            position = position.page + FrameNumber.size
        }
        return result
    }
}
