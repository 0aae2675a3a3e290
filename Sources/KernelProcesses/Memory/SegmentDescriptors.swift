import GuestMemory
import KernelObjects
import KernelTypes

extension DeadKernel {
    /// Whether modify_ldt(2) has given an address space descriptors of its own: only then has it a `struct ldt_struct`
    /// (arch/x86/kernel/ldt.c, CONFIG_MODIFY_LDT_SYSCALL).
    func hasSegmentDescriptors(_ mm: VirtualAddress) throws(MemoryFault) -> Bool {
        guard let field = layout.memory.segmentDescriptors else { return false }
        return try !reader.pointer(field, of: mm).isNull
    }
}
