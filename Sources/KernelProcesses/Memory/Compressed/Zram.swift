import Decompression
import GuestMemory
import KernelObjects
import KernelTypes
import ProcessModel

/// `struct zram` and `struct zram_table_entry` (drivers/block/zram/zram_drv.h).
struct ZramLayout: Sendable {
    let table, pool, disk, size: Field
    /// The name of its algorithm in `struct zram` itself, up to 6.1.
    let compressor: Field?
    /// Pointers to the names of up to four, since 6.2.
    let algorithms: Field?
    /// Of `struct zcomp_params`, one for each algorithm: bytes of a dictionary, since 6.12.
    let parameters, dictionarySize: Field?
    let parametersSize: Int
    let entrySize: Int
    let handle, flags: Field
    /// Bits of `flags` (`enum zram_pageflags`); below them is the object's size.
    let sizeBits, same, writtenBack: UInt64
    /// The lower of two bits with the number of the algorithm.
    let priority: UInt64?

    init?(_ types: TypeTable) {
        guard let device = try? types.structure("zram"), let entry = try? types.structure("zram_table_entry"),
            let table = device.optional("table"), let pool = device.optional("mem_pool"), let disk = device.optional("disk"),
            let size = device.optional("disksize"), let handle = entry.optional("handle"),
            let flags = entry.optional("flags") ?? entry.optional("attr.flags"),
            let same = types.enumerator("ZRAM_SAME"), let back = types.enumerator("ZRAM_WB"),
            // The lowest of the flags: ZRAM_LOCK where there is one, else ZRAM_SAME.
            let lowest = [types.enumerator("ZRAM_LOCK"), same].compactMap({ $0 }).min(),
            13..<64 ~= lowest, 0..<64 ~= same, 0..<64 ~= back
        else { return nil }
        self.table = table
        self.pool = pool
        self.disk = disk
        self.size = size
        compressor = device.optional("compressor")
        algorithms = device.optional("comp_algs")
        parameters = device.optional("params")
        let parameter = try? types.structure("zcomp_params")
        dictionarySize = parameter?.optional("dict_sz")
        parametersSize = parameter?.size ?? 0
        entrySize = entry.size
        self.handle = handle
        self.flags = flags
        sizeBits = UInt64(lowest)
        self.same = UInt64(same)
        writtenBack = UInt64(back)
        priority = types.enumerator("ZRAM_COMP_PRIORITY_BIT1").flatMap { 0..<63 ~= $0 ? UInt64($0) : nil }
        guard compressor != nil || algorithms != nil else { return nil }
    }
}

/// A device of compressed memory that the dead kernel swapped to.
struct ZramDevice: Sendable {
    /// `struct zram`.
    var address: VirtualAddress
    var layout: ZramLayout
    var table: VirtualAddress
    var pool: VirtualAddress
    /// Of the device, in pages.
    var pages: UInt64
}

extension DeadKernel {
    /// - Parameter disk: `struct gendisk`.
    func zramDevice(_ name: String, of disk: VirtualAddress) throws -> ZramDevice {
        guard let types = try types(of: "zram", having: "zram") else {
            throw PageSupplyError("it is on \(name), compressed memory, and the kernel has no types of the module zram")
        }
        guard let fields = ZramLayout(types), let field = layout.swap?.diskPrivate else {
            throw PageSupplyError("it is on \(name), compressed memory that is not understood of this kernel")
        }
        _ = try zsmalloc()
        let device = try reader.pointer(field, of: disk)
        guard try reader.pointer(fields.disk, of: device) == disk else {
            throw MemoryFault(.damaged("device \(name) is of another disk"), at: device)
        }
        return ZramDevice(
            address: device, layout: fields, table: try reader.pointer(fields.table, of: device),
            pool: try reader.pointer(fields.pool, of: device), pages: try reader.value(fields.size, of: device) >> 12)
    }

    /// The page at a place on the device, in bytes from its start.
    func page(at position: UInt64, on device: ZramDevice) throws -> StoredPage {
        let number = position >> 12
        guard number < device.pages, number >> 45 == 0, position & 0xfff == 0 else {
            throw PageSupplyError("byte \(position) lies beyond the end of a device of compressed memory")
        }
        let fields = device.layout
        let entry = device.table + Int(number) * fields.entrySize
        let flags = try reader.value(fields.flags, of: entry)
        let handle = try reader.value(fields.handle, of: entry)
        if flags >> fields.writtenBack & 1 == 1 {
            throw PageSupplyError("it was written from compressed memory to the device behind that, which is not read")
        }
        // No handle: a page of zeros, or one that was never written; the word of a page that is all one word is in its place.
        if handle == 0 || flags >> fields.same & 1 == 1 { return .filled(handle) }
        let size = flags & ~(~0 << fields.sizeBits)
        guard size >= 1, size <= UInt64(FrameNumber.size) else {
            throw MemoryFault(.damaged("\(size) bytes of a page on compressed memory"), at: entry)
        }
        // An incompressible one has the size of a page.
        let format =
            size == UInt64(FrameNumber.size)
            ? nil : try self.format(number: fields.priority.map { flags >> $0 & 3 } ?? 0, of: device)
        return .object(
            StoredObject(
                allocator: .zsmalloc(pools: [device.pool]), handle: handle, size: Int(size), format: format))
    }

    private func format(number: UInt64, of device: ZramDevice) throws -> CompressionFormat {
        let fields = device.layout
        let name: String
        if let algorithms = fields.algorithms {
            guard number < UInt64(algorithms.count) else {
                throw MemoryFault(.damaged("algorithm \(number) of zram"), at: device.address)
            }
            name = try reader.memory.string(at: reader.pointer(algorithms.element(Int(number)), of: device.address), limit: 128)
        } else if let compressor = fields.compressor {
            name = String(decoding: try reader.text(compressor, of: device.address), as: UTF8.self)
        } else {
            throw PageSupplyError("compressed memory that is not understood of this kernel")
        }
        guard let format = CompressionFormat(algorithm: name) else {
            throw PageSupplyError("it is in compressed memory, compressed with \(name), which is not read")
        }
        if let parameters = fields.parameters, let dictionary = fields.dictionarySize {
            let own = device.address + parameters.offset + Int(number) * fields.parametersSize
            guard try reader.value(dictionary, of: own) == 0 else {
                throw PageSupplyError("it is in compressed memory, compressed with a dictionary, which is not read")
            }
        }
        return format
    }
}
