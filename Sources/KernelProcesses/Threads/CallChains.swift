import GuestMemory
import KernelObjects
import KernelTypes

/// Where a thread's call is: the instructions of the functions that it has gone into and not returned from, the innermost first.
///
/// Words that earlier calls have left on the stack are not among them.
struct CallChain {
    var instructions: [VirtualAddress]
    /// Where the frame of each begins: the stack pointer at that instruction.
    var stacks: [VirtualAddress] = []
}

extension DeadKernel {
    private static let chainLimit = 128

    /// Unwinds a task's kernel stack up to its user registers (unwind_next_frame, arch/x86/kernel/unwind_orc.c, Linux 5.10 to 7.2).
    /// - Returns: nil where the way does not lead there: through code of which the kernel has no table, or through damage.
    func callChain(of task: TaskAddress) throws(MemoryFault) -> CallChain? {
        guard let layout = layout.unwinding, let own = unwindTable(layout), let numbers = try? unwindRegisters(layout, own),
            var frame = try innermostFrame(of: task, layout)
        else {
            return nil
        }
        let end = try userRegisters(of: task)
        var chain = CallChain(instructions: [])
        var modules: [UnwindTable]?
        do throws(MemoryFault) {
            while chain.instructions.count < Self.chainLimit {
                chain.instructions.append(frame.instruction)
                chain.stacks.append(frame.stack)
                // What follows a call can belong to another path through the function.
                let at = frame.isInterrupted ? frame.instruction : frame.instruction - 1
                let entry = try entry(for: at, layout, own, &modules)
                if try caller(of: &frame, by: entry, layout, numbers) == end { return chain }
            }
        } catch {
            // What leads elsewhere than along a stack is no call chain, and no fault of the process's either.
        }
        return nil
    }

    private struct Frame {
        var instruction, stack, base: VirtualAddress
        var isInterrupted: Bool
    }

    /// Where a task that was switched out goes on, or the CPU it was on.
    private func innermostFrame(of task: TaskAddress, _ unwinding: UnwindLayout) throws(MemoryFault) -> Frame? {
        if let number = try cpuNumber(of: task) {
            // `general` has them in the order of pt_regs.
            guard let cpu = try context(of: task, onCPU: number), !cpu.isInUserMode, cpu.general.count == 15 else { return nil }
            return Frame(
                instruction: VirtualAddress(cpu.instructionPointer), stack: VirtualAddress(cpu.stackPointer),
                base: VirtualAddress(cpu.general[4]), isInterrupted: true)
        }
        let base = try reader.pointer(layout.task.stackPointer, of: task) + unwinding.switchedFrame.offset
        return Frame(
            instruction: try reader.memory.pointer(at: base + 8), stack: base + 16, base: try reader.memory.pointer(at: base),
            isInterrupted: false)
    }

    private func entry(
        for instruction: VirtualAddress, _ layout: UnwindLayout, _ own: UnwindTable, _ modules: inout [UnwindTable]?
    ) throws(MemoryFault) -> VirtualAddress? {
        let symbols = manifest.symbols.addresses
        if let start = symbols["_stext"], let end = symbols["_etext"], start <= instruction, instruction < end {
            return try own.entry(for: instruction, size: layout.size, memory: reader.memory)?.entry
        }
        if modules == nil { modules = try moduleUnwindTables(layout) }
        // The one that has something about the code nearest to it.
        var nearest: (start: VirtualAddress, entry: VirtualAddress)?
        for table in modules ?? [] {
            guard let found = try? table.entry(for: instruction, size: layout.size, memory: reader.memory) else { continue }
            if nearest.map({ $0.start < found.start }) ?? true { nearest = found }
        }
        return nearest?.entry
    }

    /// Goes on to the caller.
    /// - Returns: where the registers lie that the frame has, for one of an interrupted instruction.
    private func caller(
        of frame: inout Frame, by entry: VirtualAddress?, _ layout: UnwindLayout, _ numbers: UnwindRegisters
    ) throws(MemoryFault) -> VirtualAddress? {
        guard let entry else { throw MemoryFault(.damaged("code without unwind entries"), at: frame.instruction) }
        func stackWord(_ address: VirtualAddress) throws(MemoryFault) -> VirtualAddress {
            try reader.memory.pointer(at: address)
        }
        func moved(_ address: VirtualAddress, by field: Field) throws(MemoryFault) -> VirtualAddress {
            VirtualAddress(address.rawValue &+ UInt64(bitPattern: try reader.signed(field, of: entry)))
        }
        let stack: VirtualAddress =
            switch try reader.value(layout.stackRegister, of: entry) {
            case numbers.stack: try moved(frame.stack, by: layout.stackOffset)
            case numbers.frame: try moved(frame.base, by: layout.stackOffset)
            case numbers.stackIndirect: try moved(stackWord(frame.stack), by: layout.stackOffset)
            case numbers.frameIndirect: try stackWord(moved(frame.base, by: layout.stackOffset))
            default: throw MemoryFault(.damaged("a frame that is found by another register"), at: entry)
            }
        let frameRegister = try reader.value(layout.frameRegister, of: entry)
        let old = frame
        var registers: VirtualAddress?
        switch try reader.value(layout.type, of: entry) {
        case layout.call:
            frame.instruction = try stackWord(stack - 8)
            frame.stack = stack
            frame.isInterrupted = false
        case layout.registers:
            registers = stack
            let fields = self.layout.registers
            frame.instruction = try reader.pointer(fields.ip, of: stack)
            frame.stack = try reader.pointer(fields.sp, of: stack)
            frame.base = try reader.pointer(fields.bp, of: stack)
            frame.isInterrupted = true
        case layout.partialRegisters:
            // Only ip, cs, flags, sp and ss are there.
            let fields = self.layout.registers
            let start = stack - fields.ip.offset
            registers = start
            frame.instruction = try reader.pointer(fields.ip, of: start)
            frame.stack = try reader.pointer(fields.sp, of: start)
            frame.isInterrupted = true
        default: throw MemoryFault(.damaged("the end of a stack without user registers"), at: entry)
        }
        if let field = layout.signal, registers == nil { frame.isInterrupted = try reader.value(field, of: entry) == 1 }
        switch frameRegister {
        case UnwindRegisters.undefined: break
        case numbers.previousStack: frame.base = try stackWord(moved(stack, by: layout.frameOffset))
        case numbers.frame: frame.base = try stackWord(moved(old.base, by: layout.frameOffset))
        default: throw MemoryFault(.damaged("a frame pointer that is found by another register"), at: entry)
        }
        return registers
    }
}
