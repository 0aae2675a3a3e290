import GuestMemory
import KernelObjects
import KernelTypes

/// How a caller's frame is found from an instruction: `struct orc_entry` (arch/x86/include/asm/orc_types.h, Linux 4.14 to 7.2), of which the kernel has a table with
/// CONFIG_UNWINDER_ORC, and each module another.
struct UnwindLayout: Sendable {
    let size: Int
    let stackOffset, frameOffset, stackRegister, frameRegister, type: Field
    /// The frame is that of an interrupted instruction, since 6.3 (commit ffb1b4a41016); before, that of registers always was.
    let signal: Field?
    /// ORC_TYPE_*, which count on from the end of the stack since 6.4 (commit fb799447ae29).
    let call, registers, partialRegisters: UInt64
    /// Where `struct inactive_task_frame` (arch/x86/include/asm/switch_to.h), the lowest of the stack of a task that was switched out, has its frame pointer and,
    /// behind it, where the task goes on.
    let switchedFrame: Field
    /// `struct module` (include/linux/module.h) and its `struct mod_arch_specific`.
    let moduleLink, moduleCount, modulePlaces, moduleEntries: Field

    /// nil for a kernel that unwinds its stacks in another way.
    init?(_ types: TypeTable) {
        do throws(KernelError) {
            let entry = try types.structure("orc_entry")
            size = entry.size
            stackOffset = try entry.field("sp_offset")
            frameOffset = try entry.field("bp_offset")
            stackRegister = try entry.field("sp_reg")
            frameRegister = try entry.field("bp_reg")
            type = try entry.field("type")
            signal = entry.optional("signal")
            // The flag `end` was given up for a type of its own.
            let first: UInt64 = entry.optional("end") == nil ? 2 : 0
            (call, registers, partialRegisters) = (first, first + 1, first + 2)
            switchedFrame = try types.structure("inactive_task_frame").field("bp")
            let module = try types.structure("module")
            moduleLink = try module.field("list")
            moduleCount = try module.field("arch.num_orcs")
            modulePlaces = try module.field("arch.orc_unwind_ip")
            moduleEntries = try module.field("arch.orc_unwind")
        } catch {
            return nil
        }
    }
}

/// What the numbers of registers in such entries mean (ORC_REG_*, arch/x86/include/asm/orc_types.h).
struct UnwindRegisters: Sendable, Hashable {
    let stack, frame, previousStack, frameIndirect, stackIndirect: UInt64
    /// The caller's is the same.
    static let undefined: UInt64 = 0

    /// From 4.14 on, and as 7.2 has them.
    static let known = [
        UnwindRegisters(stack: 5, frame: 4, previousStack: 1, frameIndirect: 8, stackIndirect: 9),
        UnwindRegisters(stack: 3, frame: 4, previousStack: 8, frameIndirect: 10, stackIndirect: 9),
    ]
}

/// A table of such entries: `places` says, ascending, from which instruction on each is valid, as a distance from the number itself.
struct UnwindTable: Sendable {
    var places: VirtualAddress
    var entries: VirtualAddress
    var count: Int

    /// More than three times what a kernel of Debian has.
    static let limit = 1 << 21

    /// The entry for an instruction, and from which one on it is valid; nil: the instruction is before all of them (`__orc_find`, arch/x86/kernel/unwind_orc.c).
    func entry(
        for instruction: VirtualAddress, size: Int, memory: VirtualMemory
    ) throws(MemoryFault) -> (start: VirtualAddress, entry: VirtualAddress)? {
        var (low, high) = (0, count)
        while low < high {
            let middle = (low + high) / 2
            if try start(of: middle, memory) <= instruction { low = middle + 1 } else { high = middle }
        }
        return low == 0 ? nil : (try start(of: low - 1, memory), entries + (low - 1) * size)
    }

    private func start(of index: Int, _ memory: VirtualMemory) throws(MemoryFault) -> VirtualAddress {
        let place = places + index * 4
        let distance: UInt32 = try memory.integer(at: place)
        return VirtualAddress(place.rawValue &+ UInt64(bitPattern: Int64(Int32(bitPattern: distance))))
    }
}

extension DeadKernel {
    static let unwindSymbols: Set<String> = [
        "__start_orc_unwind_ip", "__stop_orc_unwind_ip", "__start_orc_unwind", "_stext", "_etext", "modules",
    ]

    /// The kernel's own table.
    func unwindTable(_ layout: UnwindLayout) -> UnwindTable? {
        let symbols = manifest.symbols.addresses
        guard let places = symbols["__start_orc_unwind_ip"], let end = symbols["__stop_orc_unwind_ip"],
            let entries = symbols["__start_orc_unwind"], places < end
        else { return nil }
        let count = (end.rawValue - places.rawValue) / 4
        return count <= UInt64(UnwindTable.limit)
            ? UnwindTable(places: places, entries: entries, count: Int(count)) : nil
    }

    /// The numbers that a kernel's table uses: where a function begins, there is nothing on the stack but the address that it returns to.
    func unwindRegisters(_ layout: UnwindLayout, _ table: UnwindTable) throws(MemoryFault) -> UnwindRegisters? {
        guard let function = manifest.symbols.addresses["schedule"],
            let entry = try table.entry(for: function, size: layout.size, memory: reader.memory)?.entry,
            try reader.value(layout.stackOffset, of: entry) == 8
        else { return nil }
        let stack = try reader.value(layout.stackRegister, of: entry)
        return UnwindRegisters.known.first { $0.stack == stack }
    }

    /// The tables of the modules that are loaded.
    func moduleUnwindTables(_ layout: UnwindLayout) throws(MemoryFault) -> [UnwindTable] {
        guard let head = manifest.symbols.addresses["modules"] else { return [] }
        var modules: [VirtualAddress] = []
        if let fault = reader.forEach(onList: head, link: layout.moduleLink, limit: 8192, { modules.append($0) }) {
            throw fault
        }
        var tables: [UnwindTable] = []
        for module in modules {
            let count = Int(try reader.uint32(layout.moduleCount, of: module))
            let places = try reader.pointer(layout.modulePlaces, of: module)
            let entries = try reader.pointer(layout.moduleEntries, of: module)
            guard count > 0, count <= UnwindTable.limit, places.isKernel, entries.isKernel else { continue }
            tables.append(UnwindTable(places: places, entries: entries, count: count))
        }
        return tables
    }
}
