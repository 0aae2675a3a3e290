import GuestMemory
import KernelObjects
import KernelTypes
import ProcessModel
import SyntheticMemory
import Testing

@testable import KernelProcesses

/// Contexts of asynchronous I/O in a dead kernel that may lie.
@Suite struct AsynchronousIOTests {
    let memory = SyntheticMemory()
    let layout: AsynchronousIOLayout
    let table = VirtualAddress(0xffff_8880_0001_0000)
    let context = VirtualAddress(0xffff_8880_0001_1000)
    let parts = VirtualAddress(0xffff_8880_0001_2000)
    let offsets = VirtualAddress(0xffff_8880_0001_3000)
    let ring = VirtualAddress(0x7f00_0000_0000)

    init() throws {
        var types = SyntheticTypes()
        let word = types.integer("unsigned int", size: 4)
        let long = types.integer("unsigned long", size: 8)
        let pointer = types.pointer(to: word)
        let pointers = types.array(of: pointer, count: 0)
        _ = types.structure("kioctx_table", size: 8, [("nr", word, 0), ("table", pointers, 8)])
        _ = types.structure("kioctx_cpu", size: 4, [("reqs_available", word, 0)])
        _ = types.structure(
            "kioctx", size: 48,
            [
                ("user_id", long, 0), ("cpu", pointer, 8), ("nr_events", word, 16), ("mmap_size", long, 24),
                ("reqs_available", word, 32), ("completed_events", word, 40),
            ])
        layout = try #require(AsynchronousIOLayout(try TypeTable(btf: types.bytes)))
        // The table has room for three, of which the second is in use.
        memory.place([3, 0, context.rawValue, 0], at: table)
        // Two CPUs, whose parts are 16 bytes apart.
        memory.place([0, 16], at: offsets)
        memory.place([10, 0, 5, 0], at: parts)
        place()
    }

    /// 127 events, of which 126 can be asked for: 15 are idle on the CPUs, 100 in the context, 11 are done.
    func place(events: UInt64 = 127, available: UInt64 = 100, completed: UInt64 = 11) {
        memory.place([ring.rawValue, parts.rawValue, events, 4096, available, completed], at: context)
    }

    func read(symbols: [String: VirtualAddress]? = nil) throws(MemoryFault) -> [AsynchronousIO] {
        let reader = KernelReader(
            memory: VirtualMemory(source: memory, tables: memory.tables),
            symbols: SymbolTable(addresses: symbols ?? ["__per_cpu_offset": offsets]))
        return try reader.asynchronousIO(inTable: table, layout: layout, possibleCPUs: 2)
    }

    @Test func countsWhatIsUnderWay() throws {
        #expect(try read() == [AsynchronousIO(ring: ring, ringBytes: 4096, requestsUnderWay: 0)])
        place(available: 97)
        #expect(try read().map(\.requestsUnderWay) == [3])
        place(available: 0, completed: 0)
        #expect(try read().map(\.requestsUnderWay) == [111])
    }

    @Test func refusesWhatCannotBe() throws {
        place(completed: 12)
        let tooMany = #expect(throws: MemoryFault.self) { try read() }
        #expect(tooMany?.description.contains("127 events, of which 127 are idle") == true)
        place(events: 0)
        #expect(throws: MemoryFault.self) { try read() }
        place()
        #expect(throws: MemoryFault.self) { try read(symbols: [:]) }
        memory.place([1 << 20], at: table)
        let tooLarge = #expect(throws: MemoryFault.self) { try read() }
        #expect(tooLarge?.description.contains("1048576 contexts") == true)
    }
}
