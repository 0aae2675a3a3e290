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

/// The filters of a thread as they are met, the newest first.
struct SeccompChain {
    /// MAX_INSNS_PER_PATH of kernel/seccomp.c.
    private static let limit = 32_768
    /// What each older filter counts beyond its instructions (seccomp_attach_filter).
    private static let penalty = 4

    private(set) var filters: [SeccompFilter] = []
    private var length = 0

    /// Adds a filter that is older than the others. The kernel counts instructions of eBPF, of which there are never fewer than of the classic program.
    mutating func add(_ filter: SeccompFilter, at address: VirtualAddress) throws(MemoryFault) {
        length += (filter.program?.count ?? 1) + (filters.isEmpty ? 0 : Self.penalty)
        guard length <= Self.limit else {
            throw MemoryFault(.damaged("seccomp filters of more than \(Self.limit) instructions"), at: address)
        }
        filters.append(filter)
    }
}

extension DeadKernel {
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
        var chain = SeccompChain()
        var address = try reader.pointer(fields.newest, of: task)
        while !address.isNull {
            try chain.add(seccompFilter(at: address, fields), at: address)
            address = try reader.pointer(fields.previous, of: address)
        }
        guard !chain.filters.isEmpty else { throw MemoryFault(.damaged("seccomp mode without a filter"), at: task) }
        return .filters(chain.filters.reversed())
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
