import GuestMemory
import KernelObjects

/// The part of a task's kernel stack that its call has in use.
struct LiveStack {
    var start: VirtualAddress
    var bytes: [UInt8]
    /// It is the frames of the call alone. Otherwise words of earlier calls may be between them and the user registers.
    var isExact = false

    /// The eight bytes at an offset from the start; 0 outside.
    func word(_ offset: Int) -> UInt64 {
        guard offset >= 0, offset + 8 <= bytes.count else { return 0 }
        return bytes[offset..<offset + 8].reversed().reduce(0) { $0 << 8 | UInt64($1) }
    }
}

extension DeadKernel {
    /// The kernel addresses that a task's call holds on its stack and in the registers of its CPU, and those that earlier calls have left there; nil when they are not
    /// known.
    func heldAddresses(of task: TaskAddress) throws(MemoryFault) -> [VirtualAddress]? {
        guard let stack = try liveStack(of: task) else { return nil }
        var held = stride(from: 0, to: stack.bytes.count, by: 8).map(stack.word)
        if let number = try cpuNumber(of: task), let cpu = try context(of: task, onCPU: number) {
            held += cpu.general + [cpu.instructionPointer]
        }
        return held.map { VirtualAddress($0) }.filter(\.isKernel)
    }

    /// Bytes of a kernel stack (THREAD_SIZE): the linker script reserves as many for the first task's.
    var stackSize: Int {
        let addresses = manifest.symbols.addresses
        for (start, end) in [("__start_init_stack", "__end_init_stack"), ("__start_init_task", "__end_init_task")] {
            if let start = addresses[start], let end = addresses[end], start < end, end.rawValue - start.rawValue <= 1 << 17 {
                return Int(end.rawValue - start.rawValue)
            }
        }
        return 16_384
    }

    /// Where the user registers are, at the top of a task's kernel stack.
    func userRegisters(of task: TaskAddress) throws(MemoryFault) -> VirtualAddress {
        try reader.pointer(layout.task.stack, of: task) + stackSize - layout.registers.padding - layout.registers.size
    }

    /// What a task's calls hold on its kernel stack; nil when it is not known how far down that reaches.
    func liveStack(of task: TaskAddress) throws(MemoryFault) -> LiveStack? {
        let top = try userRegisters(of: task)
        let stack = try reader.pointer(layout.task.stack, of: task)
        let bottom: VirtualAddress
        if let cpu = try cpuNumber(of: task) {
            // The stack pointer that the task saved is that of an earlier switch.
            guard let current = try stackPointer(of: task, onCPU: cpu, within: stack..<top) else { return nil }
            bottom = current
        } else {
            bottom = try reader.pointer(layout.task.stackPointer, of: task)
        }
        guard stack <= bottom, bottom < top, bottom.rawValue % 8 == 0 else { return nil }
        let end = try callFrames(of: task).flatMap { bottom < $0 && $0 <= top ? $0 : nil }
        let count = Int((end ?? top).rawValue - bottom.rawValue)
        return LiveStack(start: bottom, bytes: try reader.memory.bytes(at: bottom, count: count), isExact: end != nil)
    }

    /// Where the frames of the call's own functions end on the task's stack; nil when that is not known.
    ///
    /// With CONFIG_RANDOMIZE_KSTACK_OFFSET (Linux 5.13, on by default in Debian's kernels) each call begins up to a kilobyte deeper than the registers, and what earlier ones have left
    /// there looks the same.
    private func callFrames(of task: TaskAddress) throws(MemoryFault) -> VirtualAddress? {
        if let known = knownCallFrames[task] { return known }
        var end: VirtualAddress?
        if let chain = try callChain(of: task),
            let index = chain.instructions.firstIndex(where: { manifest.symbols.contains($0, in: "do_syscall_64") })
        {
            end = chain.stacks[index]
        }
        knownCallFrames[task] = .some(end)
        return end
    }

    /// The stack pointer of the task on a CPU, also when the CPU stopped inside an interrupt: whoever goes over to the interrupt stack leaves
    /// the old pointer in its topmost word (arch/x86/include/asm/irq_stack.h). Not known inside a non-maskable interrupt.
    private func stackPointer(
        of task: TaskAddress, onCPU number: Int, within stack: Range<VirtualAddress>
    ) throws(MemoryFault) -> VirtualAddress? {
        guard let cpu = try context(of: task, onCPU: number) else { return nil }
        let current = VirtualAddress(cpu.stackPointer)
        if stack.contains(current) { return current }
        let symbols = manifest.symbols.addresses
        guard let offsets = symbols["__per_cpu_offset"], let variable = interruptStackVariable, number < 8192 else {
            return nil
        }
        let shift: UInt64 = try reader.memory.integer(at: offsets + number * 8)
        let top = try reader.memory.pointer(at: VirtualAddress(variable.rawValue &+ shift))
        // IRQ_STACK_SIZE is that of a task's.
        guard current <= top, top.rawValue &- current.rawValue < UInt64(stackSize) else { return nil }
        // The variable has led to that word itself since 5.12 (commit 951c2a51ae75), behind it before.
        let word = top.offsetInPage == 0 ? top - 8 : top
        guard let saved = try? reader.memory.pointer(at: word) else { return nil }
        return stack.contains(saved) ? saved : nil
    }

    /// The variable of each CPU that has the top of its interrupt stack: in `pcpu_hot` from 6.2 (commit d7b6d709a76a) to 6.14.
    private var interruptStackVariable: VirtualAddress? {
        let symbols = manifest.symbols.addresses
        if let variable = symbols["hardirq_stack_ptr"] { return variable }
        guard let hot = symbols["pcpu_hot"], let field = layout.interruptStack else { return nil }
        return hot + field.offset
    }
}
