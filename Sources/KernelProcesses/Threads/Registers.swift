import GuestMemory
import KernelObjects
import KernelTypes
import ProcessModel

/// `struct pt_regs` (arch/x86/include/asm/ptrace.h) at the top of a task's kernel stack.
struct RegisterLayout: Sendable {
    let size: Int
    /// What lies between the registers and the end of the stack (TOP_OF_KERNEL_STACK_PADDING, arch/x86/include/asm/thread_info.h):
    /// with CONFIG_X86_FRED the rest of `struct fred_frame` (since 6.9).
    let padding: Int
    let r15, r14, r13, r12, bp, bx, r11, r10, r9, r8, ax, cx, dx, si, di, origAX, ip, cs, flags, sp, ss: Field

    init(_ types: TypeTable) throws(KernelError) {
        let registers = try types.structure("pt_regs")
        size = registers.size
        padding = types.has("fred_frame") ? try types.structure("fred_frame").size - registers.size : 0
        r15 = try registers.field("r15")
        r14 = try registers.field("r14")
        r13 = try registers.field("r13")
        r12 = try registers.field("r12")
        bp = try registers.field("bp")
        bx = try registers.field("bx")
        r11 = try registers.field("r11")
        r10 = try registers.field("r10")
        r9 = try registers.field("r9")
        r8 = try registers.field("r8")
        ax = try registers.field("ax")
        cx = try registers.field("cx")
        dx = try registers.field("dx")
        si = try registers.field("si")
        di = try registers.field("di")
        origAX = try registers.field("orig_ax")
        ip = try registers.field("ip")
        cs = try registers.field("cs")
        flags = try registers.field("flags")
        sp = try registers.field("sp")
        ss = try registers.field("ss")
    }
}

extension DeadKernel {
    /// The vCPU on which a task was current, nil for one that was switched out.
    func cpuNumber(of task: TaskAddress) throws(MemoryFault) -> Int? {
        guard try reader.value(layout.task.onCPU, of: task) != 0 else { return nil }
        return Int(try reader.uint32(layout.task.cpu, of: task))
    }

    /// A thread's user registers.
    ///
    /// Whenever a task enters the kernel its user registers are saved at the top of its kernel stack, also when an interrupt or
    /// the stop request of a panic took it out of user mode. Only a vCPU that Xen stopped in user mode holds them itself.
    func registers(of task: TaskAddress) throws(MemoryFault) -> GeneralRegisters {
        var result = GeneralRegisters()
        let fields = layout.task
        result.ds = try reader.value(fields.ds, of: task)
        result.es = try reader.value(fields.es, of: task)
        result.fs = try reader.value(fields.fsIndex, of: task)
        result.gs = try reader.value(fields.gsIndex, of: task)
        result.fsBase = try reader.value(fields.fsBase, of: task)
        result.gsBase = try reader.value(fields.gsBase, of: task)
        let cpu = try cpuNumber(of: task).flatMap { number throws(MemoryFault) in try context(of: task, onCPU: number) }
        if let cpu {
            // The bases in thread_struct are written when the task is switched out; until then the CPU has them.
            result.fsBase = cpu.fsBase
            if cpu.isInUserMode {
                result.gsBase = cpu.gsBase
            } else if cpu.shadowGSBase >> 47 == 0 {
                result.gsBase = cpu.shadowGSBase
            }
        }
        if let cpu, cpu.isInUserMode {
            take(cpu, into: &result)
        } else {
            try readStack(of: task, into: &result)
        }
        result.cs = Self.selector(result.cs)
        result.ss = Self.selector(result.ss)
        check(result, of: task)
        return result
    }

    /// A program of a PV guest that was interrupted shows Xen's flat segments (FLAT_RING3_CS64, FLAT_RING3_SS64 and FLAT_RING3_CS32 of
    /// xen/include/public/arch-x86/xen-x86_64.h), one in a system call Linux's own (`xen_entry_SYSCALL_64`, arch/x86/xen/xen-asm.S). They are the same to the program, and
    /// the latter are there in every kernel.
    private static func selector(_ value: UInt64) -> UInt64 {
        switch value {
        case 0xe033: 0x33
        case 0xe02b: 0x2b
        case 0xe023: 0x23
        default: value
        }
    }

    private func take(_ cpu: VCPUContext, into result: inout GeneralRegisters) {
        // `isInUserMode` promises 15 values in the order of pt_regs.
        let general = cpu.general
        (result.r15, result.r14, result.r13, result.r12) = (general[0], general[1], general[2], general[3])
        (result.bp, result.bx, result.r11, result.r10) = (general[4], general[5], general[6], general[7])
        (result.r9, result.r8, result.ax, result.cx) = (general[8], general[9], general[10], general[11])
        (result.dx, result.si, result.di) = (general[12], general[13], general[14])
        result.origAX = .max
        result.ip = cpu.instructionPointer
        result.cs = cpu.codeSegment
        result.flags = cpu.flags
        result.sp = cpu.stackPointer
        result.ss = cpu.stackSegment
    }

    private func readStack(of task: TaskAddress, into result: inout GeneralRegisters) throws(MemoryFault) {
        let fields = layout.registers
        let frame = try userRegisters(of: task)
        result.r15 = try reader.value(fields.r15, of: frame)
        result.r14 = try reader.value(fields.r14, of: frame)
        result.r13 = try reader.value(fields.r13, of: frame)
        result.r12 = try reader.value(fields.r12, of: frame)
        result.bp = try reader.value(fields.bp, of: frame)
        result.bx = try reader.value(fields.bx, of: frame)
        result.r11 = try reader.value(fields.r11, of: frame)
        result.r10 = try reader.value(fields.r10, of: frame)
        result.r9 = try reader.value(fields.r9, of: frame)
        result.r8 = try reader.value(fields.r8, of: frame)
        result.ax = try reader.value(fields.ax, of: frame)
        result.cx = try reader.value(fields.cx, of: frame)
        result.dx = try reader.value(fields.dx, of: frame)
        result.si = try reader.value(fields.si, of: frame)
        result.di = try reader.value(fields.di, of: frame)
        result.origAX = try reader.value(fields.origAX, of: frame)
        result.ip = try reader.value(fields.ip, of: frame)
        // With FRED the upper bits of cs and ss hold other things (struct fred_cs); the selector is the lowest 16 bits.
        result.cs = try reader.value(fields.cs, of: frame) & 0xffff
        result.flags = try reader.value(fields.flags, of: frame)
        result.sp = try reader.value(fields.sp, of: frame)
        result.ss = try reader.value(fields.ss, of: frame) & 0xffff
        guard result.cs & 3 == 3, result.ip >> 47 == 0, result.sp >> 47 == 0 else {
            throw MemoryFault(.damaged("user registers that are not those of a user program"), at: frame)
        }
    }
}
