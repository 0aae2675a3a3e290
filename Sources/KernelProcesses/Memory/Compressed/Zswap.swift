import Decompression
import GuestMemory
import KernelObjects
import KernelTypes
import ProcessModel

/// `struct zswap_entry`, `struct zswap_pool` and where they are looked up (mm/zswap.c, mm/zpool.c).
struct ZswapLayout: Sendable {
    /// Of `struct zswap_tree`, a red-black tree of entries by their slots, one for an area, in 6.9 for each 2^14 slots; nil where there are xarrays
    /// instead, since 6.10.
    let tree: Field?
    let treeSize: Int
    let node: Field?
    /// The slot's number, with its area's above it in `swpentry`, which takes its place since 6.5.
    let offset, swapEntry: Field?
    let length, pool, handle: Field
    /// The word of a page that is all one word, up to 6.11; its length is 0 then.
    let value: Field?
    let algorithm: Field
    /// `struct zpool`, between zswap and the allocator up to 6.17. From 6.6 on there were several in a pool for some
    /// versions.
    let zpool, zpoolDriver, zpoolPool, zpoolEvictable, driverName: Field?
    /// `struct zs_pool` without that.
    let zsPool: Field?
    /// A `struct zswap_header`, which is the slot, precedes what is compressed where the allocator evicts objects by itself, up to 6.4.
    let hasHeader: Bool

    init?(_ types: TypeTable) {
        guard let entry = try? types.structure("zswap_entry"), let pool = try? types.structure("zswap_pool"),
            let length = entry.optional("length"), let own = entry.optional("pool"), let handle = entry.optional("handle"),
            let name = pool.optional("tfm_name")
        else { return nil }
        let tree = try? types.structure("zswap_tree")
        self.tree = tree?.optional("rbroot")
        treeSize = tree?.size ?? 0
        node = entry.optional("rbnode")
        offset = entry.optional("offset")
        swapEntry = entry.optional("swpentry")
        self.length = length
        self.pool = own
        self.handle = handle
        value = entry.optional("value")
        algorithm = name
        zsPool = pool.optional("zs_pool")
        zpool = (pool.optional("zpool") ?? pool.optional("zpools")).flatMap { 1...32 ~= $0.count ? $0 : nil }
        let zpools = try? types.structure("zpool")
        zpoolDriver = zpools?.optional("driver")
        zpoolPool = zpools?.optional("pool")
        zpoolEvictable = zpools?.optional("evictable")
        driverName = (try? types.structure("zpool_driver"))?.optional("type")
        hasHeader = types.has("zswap_header")
        guard self.tree == nil || node != nil && (offset != nil || swapEntry != nil) else { return nil }
    }
}

/// What the pages of a `struct zswap_pool` have in common.
struct ZswapPool {
    var allocator: StoredObject.Allocator
    /// Whether a `struct zswap_header` precedes the page.
    var hasHeader = false
    var format: CompressionFormat
}

extension DeadKernel {
    /// The page that zswap holds in the place of a slot, which was never written then; nil when it holds none.
    /// - Throws: `PageSupplyError` when it may hold it, and that is not understood.
    func zswapPage(of slot: SwapEntry) throws -> StoredPage? {
        guard let trees = manifest.symbols.addresses["zswap_trees"] else { return nil }
        let tree = try reader.memory.pointer(at: trees + slot.type * 8)
        guard !tree.isNull else { return nil }
        guard let fields = layout.zswap else {
            throw PageSupplyError("\(slot) may be in zswap, which is not understood of this kernel")
        }
        guard let entry = try zswapEntry(of: slot, in: tree, fields) else { return nil }
        let length = try reader.value(fields.length, of: entry)
        if length == 0, let value = fields.value { return .filled(try reader.value(value, of: entry)) }
        guard length >= 1, length <= UInt64(FrameNumber.size) else {
            throw MemoryFault(.damaged("\(length) bytes of a page in zswap"), at: entry)
        }
        let pool = try zswapPool(at: reader.pointer(fields.pool, of: entry), fields)
        // What does not become smaller is kept as it is by kernels that count such pages.
        let isPlain =
            length == UInt64(FrameNumber.size) && manifest.symbols.addresses["zswap_stored_incompressible_pages"] != nil
        return .object(
            StoredObject(
                allocator: pool.allocator, handle: try reader.value(fields.handle, of: entry),
                header: pool.hasHeader ? slot.bytes : [],
                size: Int(length), format: isPlain ? nil : pool.format))
    }

    /// Whether zswap takes pages, or has any, and lets go of one before it has brought it in, as zswap_load of Linux 6.12 does: in between the page is nowhere, and
    /// its slot on the disk was never written. With one tree for each area (up to 6.8) it does not.
    func forgetsEarly() throws(MemoryFault) -> Bool {
        guard let fields = layout.zswap, fields.tree == nil || manifest.symbols.addresses["nr_zswap_trees"] != nil else {
            return false
        }
        for name in ["zswap_enabled", "zswap_stored_pages"] {
            guard let address = manifest.symbols.addresses[name] else { continue }
            // A `bool`, and an atomic that is a word or half of one.
            if try reader.memory.unsigned(at: address, size: name == "zswap_enabled" ? 1 : 4) != 0 { return true }
        }
        return false
    }

    private func zswapEntry(
        of slot: SwapEntry, in tree: VirtualAddress, _ fields: ZswapLayout
    ) throws -> VirtualAddress? {
        guard let root = fields.tree, let link = fields.node, let swap = layout.swap else {
            let array = tree + Int(slot.offset >> SwapLayout.spaceShift) * (layout.swap?.xarraySize ?? 0)
            guard let entry = try reader.entry(at: slot.offset, inXArray: array, layout: layout.xarray) else { return nil }
            return try check(VirtualAddress(entry), isOf: slot, fields)
        }
        let number = manifest.symbols.addresses["nr_zswap_trees"] == nil ? 0 : Int(slot.offset >> SwapLayout.spaceShift)
        var node = try reader.memory.pointer(at: tree + number * fields.treeSize + root.offset)
        for _ in 0..<128 {
            guard !node.isNull else { return nil }
            let entry = reader.container(of: node, link)
            let own: UInt64
            if let offset = fields.offset {
                own = try reader.value(offset, of: entry)
            } else if let field = fields.swapEntry {
                own = SwapEntry(value: try reader.value(field, of: entry)).offset
            } else {
                throw PageSupplyError("this kernel's zswap is not understood")
            }
            if own == slot.offset { return try check(entry, isOf: slot, fields) }
            node = try reader.pointer(own > slot.offset ? swap.rbTree.left : swap.rbTree.right, of: node)
        }
        throw MemoryFault(.damaged("tree of zswap deeper than 128 nodes"), at: tree)
    }

    private func check(_ entry: VirtualAddress, isOf slot: SwapEntry, _ fields: ZswapLayout) throws -> VirtualAddress {
        if let field = fields.swapEntry {
            let own = SwapEntry(value: try reader.value(field, of: entry))
            guard own == slot else { throw MemoryFault(.damaged("\(own) in zswap's place for \(slot)"), at: entry) }
        }
        return entry
    }

    private func zswapPool(at address: VirtualAddress, _ fields: ZswapLayout) throws -> ZswapPool {
        if let known = zswapPools[address] { return known }
        let algorithm = String(decoding: try reader.text(fields.algorithm, of: address), as: UTF8.self)
        guard let format = CompressionFormat(algorithm: algorithm) else {
            throw PageSupplyError("it is in zswap, compressed with \(algorithm), which is not read")
        }
        var pool: ZswapPool
        if let field = fields.zsPool {
            pool = ZswapPool(allocator: .zsmalloc(pools: [try reader.pointer(field, of: address)]), format: format)
        } else {
            guard let zpool = fields.zpool, let driver = fields.zpoolDriver, let inner = fields.zpoolPool,
                let name = fields.driverName
            else { throw PageSupplyError("it is in zswap, which is not understood of this kernel") }
            let layer = try reader.pointer(zpool.element(0), of: address)
            let kind = try reader.memory.string(at: reader.pointer(name, of: reader.pointer(driver, of: layer)), limit: 32)
            switch kind {
            case "zsmalloc":
                let pools = try (0..<zpool.count).map {
                    try reader.pointer(inner, of: reader.pointer(zpool.element($0), of: address))
                }
                pool = ZswapPool(allocator: .zsmalloc(pools: pools), format: format)
            case "zbud": pool = ZswapPool(allocator: .zbud, format: format)
            default: throw PageSupplyError("it is in zswap, in memory of the allocator \(kind), which is not read")
            }
            if let evictable = fields.zpoolEvictable {
                pool.hasHeader = try reader.value(evictable, of: layer) == 1 && fields.hasHeader
            }
        }
        if case .zsmalloc = pool.allocator { _ = try zsmalloc() }
        zswapPools[address] = pool
        return pool
    }
}

extension SwapEntry {
    /// As the kernel keeps it outside of page tables.
    fileprivate var bytes: [UInt8] {
        let value = UInt64(type) << 58 | offset
        return (0..<8).map { UInt8(truncatingIfNeeded: value >> UInt64($0 * 8)) }
    }
}
