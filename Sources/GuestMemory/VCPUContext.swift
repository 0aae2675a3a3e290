/// What one virtual CPU of the dead guest held when it stopped: the only copy of the state of a task that was running.
public struct VCPUContext: Hashable, Sendable {
    /// Linux's and Xen's number of the vCPU; the same for PVH guests and QEMU.
    public var number: Int
    public var instructionPointer: UInt64
    public var stackPointer: UInt64
    /// The page table root in use (CR3), flags included.
    public var pageTableRoot: UInt64
    public var fsBase: UInt64
    public var gsBase: UInt64
    /// MSR_KERNEL_GS_BASE: the user's GS base while the CPU is in the kernel.
    public var shadowGSBase: UInt64
    /// The task that it ran, where the source tells that instead of the number: see `DumpNotes`.
    public var taskID: Int32?
    /// RFLAGS, CS and SS.
    public var flags: UInt64 = 0
    public var codeSegment: UInt64 = 0
    public var stackSegment: UInt64 = 0
    /// r15, r14, r13, r12, bp, bx, r11, r10, r9, r8, ax, cx, dx, si, di: the order of `struct pt_regs`. Empty: not known.
    public var general: [UInt64] = []
    /// x87 and SSE as FXSAVE stores them: 512 bytes.
    public var fxsave: [UInt8]
    /// Extended components by XSAVE feature number (2 = AVX upper halves, 5 = opmask, 6 = ZMM_Hi256, 7 = Hi16_ZMM, 9 = PKRU).
    public var extended: [Int: [UInt8]]
    /// Which of x87 (bit 0) and SSE (bit 1) `fxsave` has; the others are in their initial state, whatever stands there.
    public var legacyComponents: UInt64 = 3

    public init(
        number: Int, instructionPointer: UInt64 = 0, stackPointer: UInt64 = 0, pageTableRoot: UInt64 = 0, fsBase: UInt64 = 0,
        gsBase: UInt64 = 0, shadowGSBase: UInt64 = 0, fxsave: [UInt8] = [], extended: [Int: [UInt8]] = [:]
    ) {
        self.number = number
        self.instructionPointer = instructionPointer
        self.stackPointer = stackPointer
        self.pageTableRoot = pageTableRoot
        self.fsBase = fsBase
        self.gsBase = gsBase
        self.shadowGSBase = shadowGSBase
        self.fxsave = fxsave
        self.extended = extended
    }

    /// Whether the CPU was in user mode, so that its registers are the task's own.
    public var isInUserMode: Bool { instructionPointer >> 63 == 0 && general.count == 15 }
}
