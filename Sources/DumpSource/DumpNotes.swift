import GuestMemory

/// The ELF notes of a dump (elf(5)): VMCOREINFO, and the registers of the CPUs.
struct DumpNotes {
    /// The text of the kernel's VMCOREINFO; QEMU has one when the guest told it where to find it.
    private(set) var vmCoreInfo: [UInt8]?
    /// Without floating point state, which no dump has.
    var cpus: [VCPUContext] { fromQEMU.isEmpty ? fromKernel : fromQEMU }

    private var fromQEMU: [VCPUContext] = []
    private var fromKernel: [VCPUContext] = []

    /// Bytes of notes that are believed: 8192 CPUs have less than 800 each.
    static let sizeLimit: UInt64 = 16 << 20

    /// Reads as many notes as there are whole ones.
    init(_ bytes: [UInt8]) {
        var position = 0
        while position + 12 <= bytes.count {
            let nameSize = Int(bytes.number(at: position, as: UInt32.self))
            let size = Int(bytes.number(at: position + 4, as: UInt32.self))
            let kind: UInt32 = bytes.number(at: position + 8)
            let name = position + 12
            // Both are filled up to words; neither sum overflows, for sizes have 32 bits.
            let start = name + (nameSize + 3) / 4 * 4
            guard start + size <= bytes.count else { return }
            take(
                String(decoding: bytes[name..<name + nameSize].prefix { $0 != 0 }, as: UTF8.self), kind,
                bytes[start..<start + size])
            position = start + (size + 3) / 4 * 4
        }
    }

    private mutating func take(_ name: String, _ kind: UInt32, _ contents: ArraySlice<UInt8>) {
        switch (name, kind) {
        case ("VMCOREINFO", 0): if vmCoreInfo == nil { vmCoreInfo = Array(contents) }
        case ("QEMU", 0):
            if let context = Self.qemu(Array(contents), number: fromQEMU.count) { fromQEMU.append(context) }
        case ("CORE", 1):  // NT_PRSTATUS
            if let context = Self.status(Array(contents), number: fromKernel.count) { fromKernel.append(context) }
        default: break
        }
    }

    /// `QEMUCPUState` (target/i386/arch_dump.c of QEMU), of which there is one for each vCPU, in their order.
    private static func qemu(_ bytes: [UInt8], number: Int) -> VCPUContext? {
        /// Everything up to the control registers; the kernel's GS base is behind them since QEMU 3.0.
        let size = 432
        guard bytes.count >= size, bytes.number(at: 0, as: UInt32.self) == 1 else { return nil }
        func word(_ offset: Int) -> UInt64 { bytes.number(at: offset) }
        var context = VCPUContext(
            number: number, instructionPointer: word(136), stackPointer: word(56), pageTableRoot: word(416),
            fsBase: word(240), gsBase: word(264), shadowGSBase: bytes.count >= size + 8 ? word(size) : .max)
        // rax, rbx, rcx, rdx, rsi, rdi, rsp, rbp, r8 … r15.
        context.general = [128, 120, 112, 104, 64, 16, 96, 88, 80, 72, 8, 24, 32, 40, 48].map(word)
        context.flags = word(144)
        context.codeSegment = UInt64(bytes.number(at: 152, as: UInt32.self))
        context.stackSegment = UInt64(bytes.number(at: 272, as: UInt32.self))
        return context
    }

    /// `struct elf_prstatus` (include/linux/elfcore.h), which the dying kernel writes for each CPU that it could still reach (`crash_save_cpu`, kernel/kexec_core.c and
    /// since 6.9 kernel/crash_core.c): not the number of the CPU is in it but the task that it ran.
    private static func status(_ bytes: [UInt8], number: Int) -> VCPUContext? {
        /// `pr_pid` and `pr_reg`, which has the order of `struct user_regs_struct`.
        let (task, registers, size) = (32, 112, 336)
        guard bytes.count >= size else { return nil }
        func word(_ index: Int) -> UInt64 { bytes.number(at: registers + index * 8) }
        // The bases are those of the task's thread_struct: that of GS is the user's, also when the CPU was in the kernel.
        var context = VCPUContext(
            number: number, instructionPointer: word(16), stackPointer: word(19), fsBase: word(21), gsBase: word(22),
            shadowGSBase: .max)
        context.taskID = bytes.number(at: task)
        context.general = (0..<15).map(word)
        context.codeSegment = word(17)
        context.flags = word(18)
        context.stackSegment = word(20)
        return context
    }
}
