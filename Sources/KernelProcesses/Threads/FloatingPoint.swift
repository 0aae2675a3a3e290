import GuestMemory
import KernelObjects
import KernelTypes
import ProcessModel

/// `struct fpu` of a task, and `struct fpstate` (arch/x86/include/asm/fpu/types.h).
struct FloatingPointLayout: Sendable {
    /// Where a task's `struct fpu` is: in its `thread`, or since 6.16 behind the whole `task_struct` (commit cb7ca40a3882,
    /// `x86_task_fpu` in arch/x86/include/asm/processor.h).
    let offset: Int
    let lastCPU: Field
    /// Since Linux 5.16 (commit 87d0e5be0fac) a pointer to the state and its size; before it the state itself.
    let pointer: Field?
    let size: Field?
    let registers: Field?
    let embedded: Field?
    /// PKRU, which since 5.14 is switched apart from the rest of a thread's state, and not kept with it.
    let keyRights: Field?

    init(_ types: TypeTable) throws(KernelError) {
        let task = try types.structure("task_struct")
        let unit = try types.structure("fpu")
        offset = task.optional("thread.fpu")?.offset ?? task.size
        lastCPU = try unit.field("last_cpu")
        pointer = unit.optional("fpstate")
        let state = types.has("fpstate") ? try types.structure("fpstate") : nil
        size = state?.optional("size")
        registers = state?.optional("regs")
        embedded = unit.optional("state")
        keyRights = task.optional("thread.pkru")
    }
}

extension DeadKernel {
    /// The legacy area of XSAVE, and the header behind it.
    private static let legacySize = 512
    private static let headerSize = 64
    /// Bytes of a state that are believed: AMX has 8 KiB more than everything before it.
    private static let stateLimit = 16_384
    /// NR_CPUS with CONFIG_MAXSMP.
    private static let cpuLimit = 8192

    /// A thread's x87, SSE and extended state.
    /// - Returns: nil when only the CPU held it and the CPU's context is not there.
    func floatingPoint(of task: TaskAddress) throws(MemoryFault) -> FloatingPointState? {
        if let number = try cpuNumber(of: task), try holdsState(of: task, cpu: number) {
            guard let cpu = try context(of: task, onCPU: number), cpu.fxsave.count == Self.legacySize else { return nil }
            var present = cpu.legacyComponents
            var components: [UInt8: [UInt8]] = [:]
            for (number, bytes) in cpu.extended where (2..<63).contains(number) {
                present |= 1 << UInt64(number)
                components[UInt8(number)] = bytes
            }
            let legacy = FloatingPointState.legacyArea(cpu.fxsave, present: present)
            var state = FloatingPointState(legacy: legacy, presentComponents: present, components: components)
            if components[Self.keyRights] == nil, try addKeyRights(of: task, to: &state) { state.hasOldKeyRights = true }
            return state
        }
        let (address, size) = try stateArea(of: task)
        let legacy = try reader.memory.bytes(at: address, count: Self.legacySize)
        guard size >= Self.legacySize + Self.headerSize else {
            return FloatingPointState(legacy: legacy, presentComponents: 3)
        }
        let present = try reader.memory.integer(at: address + Self.legacySize, as: UInt64.self)
        let compaction = try reader.memory.integer(at: address + Self.legacySize + 8, as: UInt64.self)
        let components = try components(at: address, size: size, present: present, compaction: compaction)
        var state = FloatingPointState(
            legacy: FloatingPointState.legacyArea(legacy, present: present), presentComponents: present, components: components)
        // A thread that runs may have others by now, also where all else is in memory already.
        if try addKeyRights(of: task, to: &state), try cpuNumber(of: task) != nil { state.hasOldKeyRights = true }
        return state
    }

    /// The component PKRU, and its size with what fills it up.
    private static let keyRights: UInt8 = 9
    private static let keyRightsSize: UInt32 = 8

    /// Adds what a kernel keeps apart.
    /// - Returns: whether there was something.
    private func addKeyRights(of task: TaskAddress, to state: inout FloatingPointState) throws(MemoryFault) -> Bool {
        guard let field = layout.floatingPoint.keyRights,
            try componentTable("xstate_sizes", Int(Self.keyRights)) == Self.keyRightsSize
        else { return false }
        let rights = try reader.bytes(field, of: task)
        guard rights.count == 4 else { return false }
        state.components[Self.keyRights] = rights + [0, 0, 0, 0]
        state.presentComponents |= 1 << UInt64(Self.keyRights)
        return true
    }

    /// Whether a CPU's registers are a task's state: the kernel's own rule, `fpregs_state_valid` (arch/x86/kernel/fpu/context.h).
    ///
    /// What changes the state in memory, or takes the registers for the kernel's own use, makes it untrue. Where it holds, the
    /// registers are what is in memory, or newer.
    private func holdsState(of task: TaskAddress, cpu: Int) throws(MemoryFault) -> Bool {
        let unit = task + layout.floatingPoint.offset
        let symbols = manifest.symbols.addresses
        guard let owner = symbols["fpu_fpregs_owner_ctx"], let offsets = symbols["__per_cpu_offset"], cpu < Self.cpuLimit else {
            throw MemoryFault(.damaged("no fpu_fpregs_owner_ctx for CPU \(cpu)"), at: task)
        }
        let shift: UInt64 = try reader.memory.integer(at: offsets + cpu * 8)
        let owned = try reader.memory.pointer(at: VirtualAddress(owner.rawValue &+ shift))
        let last = try reader.uint32(layout.floatingPoint.lastCPU, of: unit)
        return owned == unit && last == UInt32(cpu)
    }

    private func stateArea(of task: TaskAddress) throws(MemoryFault) -> (VirtualAddress, Int) {
        let unit = task + layout.floatingPoint.offset
        if let pointer = layout.floatingPoint.pointer, let sizeField = layout.floatingPoint.size,
            let registers = layout.floatingPoint.registers
        {
            let state = try reader.pointer(pointer, of: unit)
            let size = Int(try reader.uint32(sizeField, of: state))
            guard (Self.legacySize...Self.stateLimit).contains(size) else {
                throw MemoryFault(.damaged("floating point state of \(size) bytes"), at: state)
            }
            return (state + registers.offset, size)
        }
        guard let state = layout.floatingPoint.embedded else {
            throw MemoryFault(.damaged("no floating point state"), at: task)
        }
        let size = try manifest.symbols.addresses["fpu_kernel_xstate_size"].map { address throws(MemoryFault) in
            Int(try reader.memory.integer(at: address, as: UInt32.self))
        }
        return (unit + state.offset, min(size ?? Self.legacySize, Self.stateLimit))
    }

    /// Takes the extended components out of the standard or the compacted form (Intel SDM volume 1, 13.4).
    private func components(
        at address: VirtualAddress, size: Int, present: UInt64, compaction: UInt64
    ) throws(MemoryFault) -> [UInt8: [UInt8]] {
        var result: [UInt8: [UInt8]] = [:]
        let isCompacted = compaction >> 63 == 1
        var position = Self.legacySize + Self.headerSize
        for number in 2..<63 {
            let bit: UInt64 = 1 << UInt64(number)
            guard (isCompacted ? compaction : present) & bit != 0 else { continue }
            let length = Int(try componentTable("xstate_sizes", number))
            var start = Int(try componentTable("xstate_offsets", number))
            if isCompacted, manifest.symbols.addresses["xstate_comp_offsets"] != nil {
                // Before 5.16 (commit 2bd264bce238 and others) the kernel keeps where each component starts.
                start = Int(try componentTable("xstate_comp_offsets", number))
            } else if isCompacted {
                // CPUID tells which components start on a 64-byte boundary; the kernel keeps it in bit 1 of xstate_flags.
                if try componentTable("xstate_flags", number) & 2 != 0 { position = (position + 63) & ~63 }
                start = position
                position += length
            }
            guard length > 0, length <= size, start >= Self.legacySize, start + length <= size else {
                throw MemoryFault(.damaged("extended state component \(number) outside its area"), at: address)
            }
            if present & bit != 0 { result[UInt8(number)] = try reader.memory.bytes(at: address + start, count: length) }
        }
        return result
    }

    /// An element of one of the arrays that arch/x86/kernel/fpu/xstate.c fills from CPUID at boot; 0 where there is none.
    private func componentTable(_ name: String, _ number: Int) throws(MemoryFault) -> UInt32 {
        guard let table = manifest.symbols.addresses[name] else { return 0 }
        return try reader.memory.integer(at: table + number * 4)
    }
}
