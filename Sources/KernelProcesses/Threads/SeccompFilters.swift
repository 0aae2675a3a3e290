import GuestMemory
import KernelObjects
import KernelTypes
import ProcessModel

/// `struct seccomp` and `struct seccomp_filter` (include/linux/seccomp.h, kernel/seccomp.c).
struct SeccompLayout: Sendable {
    let mode: Field
    let newest: Field
    let previous: Field
    let program: Field
    let isLogged: Field
    let listener: Field?
    let classicProgram: FilterProgramLayout

    /// nil where the kernel has no seccomp filters.
    init?(_ types: TypeTable) {
        guard let task = try? types.structure("task_struct"), let filter = try? types.structure("seccomp_filter"),
            let mode = task.optional("seccomp.mode"), let newest = task.optional("seccomp.filter"),
            let previous = filter.optional("prev"), let program = filter.optional("prog"),
            let isLogged = filter.optional("log"), let classicProgram = try? FilterProgramLayout(types)
        else { return nil }
        self.mode = mode
        self.newest = newest
        self.previous = previous
        self.program = program
        self.isLogged = isLogged
        listener = filter.optional("notif")
        self.classicProgram = classicProgram
    }
}

extension DeadKernel {
    /// MAX_INSNS_PER_PATH (32768) over the least that a filter counts, one instruction and a penalty of four.
    private static let chainLimit = 32_768 / 5

    func seccomp(of task: TaskAddress) throws(MemoryFault) -> Seccomp {
        guard let fields = layout.seccomp else {
            guard let mode = layout.task.seccompMode else { return .off }
            let number = try reader.int32(mode, of: task)
            return number == 0 ? .off : .other(number)
        }
        // SECCOMP_MODE_DISABLED, STRICT and FILTER.
        switch try reader.int32(fields.mode, of: task) {
        case 0: return .off
        case 1: return .strict
        case 2: break
        case let number: return .other(number)
        }
        var chain: [SeccompFilter] = []
        var address = try reader.pointer(fields.newest, of: task)
        while !address.isNull {
            guard chain.count < Self.chainLimit else {
                throw MemoryFault(.damaged("seccomp filters without an end"), at: address)
            }
            chain.append(try seccompFilter(at: address, fields))
            address = try reader.pointer(fields.previous, of: address)
        }
        guard !chain.isEmpty else { throw MemoryFault(.damaged("seccomp mode without a filter"), at: task) }
        return .filters(chain.reversed())
    }

    private func seccompFilter(at address: VirtualAddress, _ fields: SeccompLayout) throws(MemoryFault) -> SeccompFilter {
        if let known = seccompFilters[address] { return known }
        var filter = SeccompFilter(
            number: seccompFilters.count + 1,
            program: try reader.classicProgram(of: reader.pointer(fields.program, of: address), layout: fields.classicProgram))
        filter.isLogged = try reader.value(fields.isLogged, of: address) != 0
        if let listener = fields.listener { filter.hasListener = try !reader.pointer(listener, of: address).isNull }
        seccompFilters[address] = filter
        return filter
    }
}
