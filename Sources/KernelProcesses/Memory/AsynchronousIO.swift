import GuestMemory
import KernelObjects
import KernelTypes
import ProcessModel

/// `struct kioctx_table`, `struct kioctx` and `struct kioctx_cpu` (fs/aio.c).
struct AsynchronousIOLayout: Sendable {
    let count: Field
    let contexts: Field
    /// Where the ring is mapped, which is the context's name too (`aio_context_t`).
    let name: Field
    let ringBytes: Field
    let capacity: Field
    let available: Field
    let completed: Field
    let perCPU: Field
    let availableOnCPU: Field

    /// - Returns: nil for a kernel without asynchronous I/O (CONFIG_AIO).
    init?(_ types: TypeTable) {
        guard let table = try? types.structure("kioctx_table"), let context = try? types.structure("kioctx"),
            let part = try? types.structure("kioctx_cpu"), let count = table.optional("nr"),
            let contexts = table.optional("table"), let name = context.optional("user_id"),
            let ringBytes = context.optional("mmap_size"), let capacity = context.optional("nr_events"),
            let available = context.optional("reqs_available"), let completed = context.optional("completed_events"),
            let perCPU = context.optional("cpu"), let availableOnCPU = part.optional("reqs_available")
        else { return nil }
        self.count = count
        self.contexts = contexts
        self.name = name
        self.ringBytes = ringBytes
        self.capacity = capacity
        self.available = available
        self.completed = completed
        self.perCPU = perCPU
        self.availableOnCPU = availableOnCPU
    }
}

extension DeadKernel {
    /// The contexts of asynchronous I/O that io_setup(2) has made in an address space.
    func asynchronousIO(of mm: VirtualAddress) throws(MemoryFault) -> [AsynchronousIO] {
        guard let field = layout.memory.ioContexts else { return [] }
        let table = try reader.pointer(field, of: mm)
        // Made by the first io_setup(2).
        guard !table.isNull else { return [] }
        guard let fields = layout.asynchronousIO else {
            throw MemoryFault(.damaged("asynchronous I/O in a kernel that has none"), at: table)
        }
        return try reader.asynchronousIO(inTable: table, layout: fields, possibleCPUs: Int(possibleCPUs()))
    }
}

extension KernelReader {
    /// `aio_max_nr` is 65536 by default, and each context takes at least one.
    private static let contextLimit: UInt32 = 1 << 16

    /// The contexts in a `struct kioctx_table`.
    func asynchronousIO(
        inTable table: VirtualAddress, layout: AsynchronousIOLayout, possibleCPUs: Int
    ) throws(MemoryFault) -> [AsynchronousIO] {
        let count = try uint32(layout.count, of: table)
        guard count <= Self.contextLimit else {
            throw MemoryFault(.damaged("\(count) contexts of asynchronous I/O"), at: table)
        }
        var result: [AsynchronousIO] = []
        for index in 0..<Int(count) {
            let context = try memory.pointer(at: table + layout.contexts.offset + index * 8)
            if context.isNull { continue }
            result.append(
                AsynchronousIO(
                    ring: try pointer(layout.name, of: context), ringBytes: try value(layout.ringBytes, of: context),
                    requestsUnderWay: try requestsUnderWay(in: context, layout, possibleCPUs)))
        }
        return result
    }

    /// What the kernel has taken and not yet put into the ring: of the ring's events all but one can be asked for, and each is available in the context or on one CPU
    /// (`get_reqs_available`), done and not yet given back (`completed_events`), or under way.
    private func requestsUnderWay(
        in context: VirtualAddress, _ layout: AsynchronousIOLayout, _ possibleCPUs: Int
    ) throws(MemoryFault) -> Int {
        guard let offsets = symbols.addresses["__per_cpu_offset"] else {
            throw MemoryFault(.damaged("no __per_cpu_offset for asynchronous I/O"), at: context)
        }
        let parts = try pointer(layout.perCPU, of: context)
        var idle = Int(try uint32(layout.available, of: context)) + Int(try uint32(layout.completed, of: context))
        for cpu in 0..<possibleCPUs {
            let shift: UInt64 = try memory.integer(at: offsets + cpu * 8)
            idle += Int(try uint32(layout.availableOnCPU, of: VirtualAddress(parts.rawValue &+ shift)))
        }
        let capacity = Int(try uint32(layout.capacity, of: context))
        guard idle < capacity else {
            throw MemoryFault(.damaged("asynchronous I/O of \(capacity) events, of which \(idle) are idle"), at: context)
        }
        return capacity - 1 - idle
    }
}
