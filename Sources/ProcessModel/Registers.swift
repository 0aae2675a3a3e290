/// The general registers of a thread in user mode: `struct pt_regs` (arch/x86/include/asm/ptrace.h) and `thread.{fsbase,gsbase,ds,es,fsindex,gsindex}`.
public struct GeneralRegisters: Sendable, Hashable {
    public var r15: UInt64 = 0
    public var r14: UInt64 = 0
    public var r13: UInt64 = 0
    public var r12: UInt64 = 0
    public var bp: UInt64 = 0
    public var bx: UInt64 = 0
    public var r11: UInt64 = 0
    public var r10: UInt64 = 0
    public var r9: UInt64 = 0
    public var r8: UInt64 = 0
    public var ax: UInt64 = 0
    public var cx: UInt64 = 0
    public var dx: UInt64 = 0
    public var si: UInt64 = 0
    public var di: UInt64 = 0
    /// The system call's number; `UInt64.max` (-1) outside a system call.
    public var origAX: UInt64 = .max
    public var ip: UInt64 = 0
    /// 0x33 for 64-bit code, 0x23 for 32-bit code.
    public var cs: UInt64 = 0x33
    public var flags: UInt64 = 0x202
    public var sp: UInt64 = 0
    public var ss: UInt64 = 0x2b
    public var fsBase: UInt64 = 0
    public var gsBase: UInt64 = 0
    public var ds: UInt64 = 0
    public var es: UInt64 = 0
    public var fs: UInt64 = 0
    public var gs: UInt64 = 0

    public init() {}
}

/// x87, SSE and extended state of a thread, taken out of the standard or compacted XSAVE form into its components.
public struct FloatingPointState: Sendable, Hashable {
    /// The 512 bytes of FXSAVE (`struct fxregs_state`).
    public var legacy: [UInt8]
    /// XSTATE_BV: components whose state is not their initial one. Without XSAVE: 3 (x87 and SSE).
    public var presentComponents: UInt64
    /// Components 2 and up that are present, by their number (2: upper halves of YMM, 5: opmask, 6: ZMM_Hi256, 7: Hi16_ZMM, 9: PKRU), each with
    /// the bytes that CPUID gives for it.
    public var components: [UInt8: [UInt8]]
    /// The thread was on a CPU, and its rights to protection keys (component 9) are those of when it had last come off one.
    public var hasOldKeyRights = false

    public init(legacy: [UInt8], presentComponents: UInt64, components: [UInt8: [UInt8]] = [:]) {
        self.legacy = legacy
        self.presentComponents = presentComponents
        self.components = components
    }
}

extension FloatingPointState {
    /// The legacy area of XSAVE with the initial state (Intel SDM volume 1, 13.6) of what is in it: XSAVEOPT, XSAVEC and XSAVES do not write a component that is in
    /// it, and the bytes there are old ones or zeros, as the kernel knows when it copies them for a program (`copy_feature` of arch/x86/kernel/fpu/xstate.c).
    /// - Parameters:
    ///   - area: its 512 bytes.
    ///   - present: XSTATE_BV.
    public static func legacyArea(_ area: [UInt8], present: UInt64) -> [UInt8] {
        guard area.count == 512 else { return area }
        var result = area
        func clear(_ range: Range<Int>) { for index in range { result[index] = 0 } }
        if present & 1 == 0 {
            // FCW to FDP, and the registers.
            clear(0..<24)
            clear(32..<160)
            result[0] = 0x7f
            result[1] = 0x03
        }
        if present & 2 == 0 { clear(160..<416) }
        // MXCSR belongs to SSE and AVX.
        if present & 6 == 0 {
            clear(24..<28)
            result[24] = 0x80
            result[25] = 0x1f
        }
        return result
    }
}
