import GuestMemory
import KernelObjects
import KernelTypes
import ProcessModel

/// `struct fpstate` (arch/x86/include/asm/fpu/types.h); before 5.16 `struct fpu` held the state itself.
struct FloatingPointLayout: Sendable {
    let size: Field?
    let registers: Field?

    init(_ types: TypeTable) throws(KernelError) {
        let state = types.has("fpstate") ? try types.structure("fpstate") : nil
        size = state?.optional("size")
        registers = state?.optional("regs")
    }
}

extension DeadKernel {
    /// TIF_NEED_FPU_LOAD (arch/x86/include/asm/thread_info.h): the state in memory is newer than the CPU's.
    private static let needLoad: UInt64 = 1 << 14
    /// The legacy area of XSAVE, and the header behind it.
    private static let legacySize = 512
    private static let headerSize = 64
    /// Bytes of a state that are believed: AMX has 8 KiB more than everything before it.
    private static let stateLimit = 16_384

    /// A thread's x87, SSE and extended state.
    /// - Returns: nil when only the CPU held it and the CPU's context is not there.
    func floatingPoint(of task: TaskAddress) throws(MemoryFault) -> FloatingPointState? {
        if let number = try cpuNumber(of: task),
            try reader.value(layout.task.threadFlags, of: task) & Self.needLoad == 0
        {
            guard let cpu = cpus[number], cpu.fxsave.count == Self.legacySize else { return nil }
            var present: UInt64 = 3
            var components: [UInt8: [UInt8]] = [:]
            for (number, bytes) in cpu.extended where (2..<63).contains(number) {
                present |= 1 << UInt64(number)
                components[UInt8(number)] = bytes
            }
            return FloatingPointState(legacy: cpu.fxsave, presentComponents: present, components: components)
        }
        let (address, size) = try stateArea(of: task)
        let legacy = try reader.memory.bytes(at: address, count: Self.legacySize)
        guard size >= Self.legacySize + Self.headerSize else {
            return FloatingPointState(legacy: legacy, presentComponents: 3)
        }
        let present = try reader.memory.integer(at: address + Self.legacySize, as: UInt64.self)
        let compaction = try reader.memory.integer(at: address + Self.legacySize + 8, as: UInt64.self)
        let components = try components(at: address, size: size, present: present, compaction: compaction)
        return FloatingPointState(legacy: legacy, presentComponents: present, components: components)
    }

    private func stateArea(of task: TaskAddress) throws(MemoryFault) -> (VirtualAddress, Int) {
        if let pointer = layout.task.fpstate, let sizeField = layout.floatingPoint.size,
            let registers = layout.floatingPoint.registers
        {
            let state = try reader.pointer(pointer, of: task)
            let size = Int(try reader.uint32(sizeField, of: state))
            guard (Self.legacySize...Self.stateLimit).contains(size) else {
                throw MemoryFault(.damaged("floating point state of \(size) bytes"), at: state)
            }
            return (state + registers.offset, size)
        }
        guard let state = layout.task.fpuState else { throw MemoryFault(.damaged("no floating point state"), at: task) }
        let size = try manifest.symbols.addresses["fpu_kernel_xstate_size"].map { address throws(MemoryFault) in
            Int(try reader.memory.integer(at: address, as: UInt32.self))
        }
        return (task + state.offset, min(size ?? Self.legacySize, Self.stateLimit))
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
            if isCompacted {
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
