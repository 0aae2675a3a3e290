import GuestMemory
import KernelObjects
import KernelTypes

/// What ioperm(2) and iopl(2) leave in `struct thread_struct` (arch/x86/include/asm/processor.h, CONFIG_X86_IOPL_IOPERM).
struct PortPermissionLayout: Sendable {
    let bitmap: Field?
    /// Since 5.5 iopl(2) gives all ports, and no longer the right to disable interrupts (commit c8137ace5638).
    let emulatedLevel: Field?

    init(_ types: TypeTable) {
        let task = try? types.structure("task_struct")
        bitmap = task?.optional("thread.io_bitmap")
        emulatedLevel = task?.optional("thread.iopl_emul")
    }
}

extension DeadKernel {
    /// Whether a thread may use I/O ports. A bitmap that allows none is taken away (arch/x86/kernel/ioport.c).
    func hasPortPermissions(_ task: TaskAddress) throws(MemoryFault) -> Bool {
        if let field = layout.portPermissions.bitmap, try !reader.pointer(field, of: task).isNull { return true }
        guard let field = layout.portPermissions.emulatedLevel else { return false }
        return try reader.value(field, of: task) != 0
    }
}
