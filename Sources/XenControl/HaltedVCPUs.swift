import CXen
import Glibc

/// Contexts that Xen has no save records of: those of vCPUs that halted with interrupts disabled, and all of a PV domain.
///
/// A panicking kernel stops its other CPUs so (`stop_this_cpu`, arch/x86/kernel/process.c). Xen calls such a vCPU down and writes no
/// record of it (`hvm_save_cpu_ctxt`, xen/arch/x86/hvm/hvm.c, 4.17), but its registers are still there, among them the vector
/// registers of the task that it was running.
enum HaltedVCPUs {
    private static let descriptorSize = 8
    private static let endType: UInt16 = 0
    private static let cpuType: UInt16 = 2
    private static let xsaveType: UInt16 = 16
    /// No vCPU has a number beyond HVM_MAX_VCPUS of xen/include/public/hvm/hvm_info_table.h.
    private static let numberLimit: UInt16 = 128

    /// Records that say nothing: their end alone.
    static let noRecords = record(endType, 0, [])

    /// Adds a record for each vCPU that has a context but none in `records`. A context that cannot be had whole is left out:
    /// whoever needs it sees that it is missing.
    static func add(to records: [UInt8], of domain: DomainInfo, with xen: Hypervisor) -> [UInt8] {
        let id = domain.id
        var known: Set<UInt16> = []
        // Of a PV domain there is no record that would show it.
        var hasXSAVE = !domain.isHVM && xen.extendedState(of: id, vcpu: 0) != nil
        var position = 0
        while position + descriptorSize <= records.count {
            let type = UInt16(records[position]) | UInt16(records[position + 1]) << 8
            let number = UInt16(records[position + 2]) | UInt16(records[position + 3]) << 8
            let length = (0..<4).reduce(0) { $0 | Int(records[position + 4 + $1]) << ($1 * 8) }
            if type == endType { break }
            if type == cpuType { known.insert(number) }
            if type == xsaveType { hasXSAVE = true }
            position += descriptorSize + length
        }
        guard position + descriptorSize <= records.count else { return records }
        var result = Array(records[..<position])
        for number in 0..<numberLimit where !known.contains(number) {
            guard let context = xen.context(of: domain, vcpu: number) else { continue }
            // Vector registers without their upper halves would be wrong ones.
            guard let extended = hasXSAVE ? xen.extendedState(of: id, vcpu: number) : [] else { continue }
            result += record(cpuType, number, context)
            if hasXSAVE { result += record(xsaveType, number, extended) }
        }
        return result + records[position...]
    }

    private static func record(_ type: UInt16, _ number: UInt16, _ bytes: [UInt8]) -> [UInt8] {
        var header = hvm_save_descriptor()
        header.typecode = type
        header.instance = number
        header.length = UInt32(bytes.count)
        // A C structure without padding.
        return unsafe withUnsafeBytes(of: header) { unsafe Array($0) } + bytes
    }
}

extension Hypervisor {
    /// A vCPU's `struct hvm_hw_cpu` (xen/include/public/arch-x86/hvm/save.h), made from what XEN_DOMCTL_getvcpucontext gives. What
    /// that lacks and no reader of a dead kernel asks for (limits and rights of segments, system call MSRs) is zero.
    /// - Returns: nil when there is no such vCPU, it was never started, or it has not used its vector registers.
    fileprivate func context(of domain: DomainInfo, vcpu: UInt16) -> [UInt8]? {
        var any = vcpu_guest_context_any_t()
        // Fills one structure of the type it is told.
        guard unsafe xc_vcpu_getcontext(handle, domain.id.rawValue, UInt32(vcpu), &any) == 0 else { return nil }
        // `any` is a union of the layouts of 64-bit, 32-bit and compat contexts; the first is that of every HVM-type domain, and of PV domains with a 64-bit kernel.
        let context = unsafe any.c
        guard context.flags & UInt(VGCF_I387_VALID) != 0 else { return nil }
        var cpu = hvm_hw_cpu()
        // Both are 512 bytes in the format of FXSAVE.
        unsafe withUnsafeMutableBytes(of: &cpu.fpu_regs) { target in
            unsafe withUnsafeBytes(of: context.fpu_ctxt) { unsafe target.copyMemory(from: $0) }
        }
        let registers = context.user_regs
        (cpu.r15, cpu.r14, cpu.r13, cpu.r12) = (registers.r15, registers.r14, registers.r13, registers.r12)
        (cpu.r11, cpu.r10, cpu.r9, cpu.r8) = (registers.r11, registers.r10, registers.r9, registers.r8)
        (cpu.rax, cpu.rbx, cpu.rcx, cpu.rdx) = (registers.rax, registers.rbx, registers.rcx, registers.rdx)
        (cpu.rsi, cpu.rdi, cpu.rbp, cpu.rsp) = (registers.rsi, registers.rdi, registers.rbp, registers.rsp)
        (cpu.rip, cpu.rflags) = (registers.rip, registers.rflags)
        (cpu.cs_sel, cpu.ss_sel) = (UInt32(registers.cs), UInt32(registers.ss))
        (cpu.cr0, cpu.cr2) = (UInt64(context.ctrlreg.0), UInt64(context.ctrlreg.2))
        (cpu.cr3, cpu.cr4) = (UInt64(context.ctrlreg.3), UInt64(context.ctrlreg.4))
        cpu.fs_base = UInt64(context.fs_base)
        let (user, kernel) = (UInt64(context.gs_base_user), UInt64(context.gs_base_kernel))
        // The kernel of a PV domain runs in ring 3 like its programs.
        let isInKernel = domain.isHVM ? registers.cs & 3 == 0 : context.flags & UInt(VGCF_in_kernel) != 0
        (cpu.gs_base, cpu.shadow_gs) = isInKernel ? (kernel, user) : (user, kernel)
        // A C structure whose padding readers do not look at.
        return unsafe withUnsafeBytes(of: cpu) { unsafe Array($0) }
    }

    /// A vCPU's `struct hvm_hw_cpu_xsave`: one word that Xen ignores, and what XEN_DOMCTL_getvcpuextstate gives.
    fileprivate func extendedState(of id: DomainID, vcpu: UInt16) -> [UInt8]? {
        var state = unsafe xc_vcpu_extstate_t()
        // Without a buffer the call answers with the size that it needs.
        guard unsafe xc_vcpu_get_extstate(handle, id.rawValue, UInt32(vcpu), &state) == 0,
            // Two words stand before the XSAVE area (PV_XSAVE_HDR_SIZE); without XSAVE there is none.
            (17...65_536).contains(unsafe state.size)
        else { return nil }
        var bytes = [UInt8](repeating: 0, count: Int(unsafe state.size))
        // The buffer is as long as the call is told, and outlives the call.
        let result = unsafe bytes.withUnsafeMutableBytes { buffer in
            unsafe state.buffer = buffer.baseAddress
            return unsafe xc_vcpu_get_extstate(handle, id.rawValue, UInt32(vcpu), &state)
        }
        guard result == 0 else { return nil }
        return [UInt8](repeating: 0, count: 8) + bytes
    }
}
