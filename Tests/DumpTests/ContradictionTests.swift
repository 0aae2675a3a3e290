import Checkpoint
import GuestMemory
import KernelTypes
import ProcessModel
import Testing

@testable import KernelObjects
@testable import KernelProcesses

/// Damage to one of two copies that the kernel keeps: the process is refused, and a healthy dump never is.
@Suite(.enabled(if: DumpUnderTest.path != nil, DumpUnderTest.comment), .serialized)
struct ContradictionTests {
    /// A field of an object of the group `counter`, and the words that tell of its damage.
    struct Damage: CustomTestStringConvertible, Sendable {
        var object: Object
        var type: String
        var field: String
        var words: String
        var testDescription: String { "\(type).\(field)" }
    }

    enum Object: Sendable { case task, signal, actions, memory, credentials, stackEnd, structPID, area }

    static let damages = [
        Damage(object: .signal, type: "signal_struct", field: "nr_threads", words: "threads where the kernel counts"),
        Damage(object: .task, type: "task_struct", field: "pid", words: "pid"),
        Damage(object: .task, type: "task_struct", field: "normal_prio", words: "priority unlike"),
        Damage(object: .task, type: "task_struct", field: "nr_cpus_allowed", words: "allowed CPUs"),
        Damage(object: .task, type: "task_struct", field: "group_leader", words: "leader of another thread group"),
        Damage(object: .task, type: "task_struct", field: "parent", words: "two parents"),
        Damage(object: .task, type: "task_struct", field: "real_cred", words: "other credentials"),
        Damage(object: .memory, type: "mm_struct", field: "map_count", words: "areas where the kernel counts"),
        Damage(object: .memory, type: "mm_struct", field: "total_vm", words: "pages where the kernel counts"),
        Damage(object: .area, type: "vm_area_struct", field: "vm_end", words: "stands elsewhere in its tree"),
        Damage(object: .stackEnd, type: "pt_regs", field: "r15", words: "without its end mark"),
    ]

    @Test(arguments: damages) func isSeen(damage: Damage) throws {
        let damaged = try DumpUnderTest.kernel { kernel, memory in
            let field = try kernel.manifest.types.structure(damage.type).field(damage.field)
            let address = try Self.object(damage.object, in: kernel) + (damage.object == .stackEnd ? 0 : field.offset)
            let word = try kernel.reader.memory.integer(at: address, as: UInt64.self)
            // A page less for an area's end, one more for a count, another object for a pointer.
            memory.write(damage.object == .area ? word - 4096 : word + 1, at: try kernel.physical(address))
        }
        let group = try #require(damaged.groups().first { $0.group.name == "counter" })
        let record = GroupCheckpoint.assess(group.group)
        #expect(record.verdict == .refused)
        let reasons = record.reasons + record.processes.flatMap(\.reasons)
        #expect(reasons.contains { $0.contains(damage.words) }, "\(reasons)")
    }

    private static func object(_ object: Object, in kernel: DeadKernel) throws -> VirtualAddress {
        let task = try kernel.leader(command: "counter")
        let fields = kernel.layout.task
        return switch object {
        case .task: task
        case .signal: try kernel.reader.pointer(fields.signal, of: task)
        case .actions: try kernel.reader.pointer(fields.sighand, of: task)
        case .memory: try kernel.reader.pointer(fields.mm, of: task)
        case .credentials: try kernel.reader.pointer(fields.credentials, of: task)
        case .stackEnd: try kernel.reader.pointer(fields.stack, of: task)
        case .structPID: try kernel.reader.pointer(fields.threadPID, of: task)
        case .area: try Self.areaOfPages(in: kernel, of: kernel.reader.pointer(fields.mm, of: task))
        }
    }

    /// The first area of more than one page.
    private static func areaOfPages(in kernel: DeadKernel, of mm: VirtualAddress) throws -> VirtualAddress {
        let tree = try #require(kernel.layout.memory.tree)
        let maple = try #require(kernel.layout.memory.maple)
        var first: VirtualAddress?
        _ = kernel.reader.forEach(inMapleTree: mm + tree.offset, layout: maple, limit: 1 << 16) { area, range in
            if first == nil, range.count > 4096 { first = area }
        }
        return try #require(first)
    }

    /// An entry of a page table that leads to the page of another address.
    @Test func aPageOfAnotherAddressIsSeen() throws {
        var changed = false
        let damaged = try DumpUnderTest.kernel { kernel, memory in
            let group = try #require(kernel.groups(named: ["counter"]).first)
            var pages = group.pages
            var runs: [PageRun] = []
            let process = try #require(group.group.processes.first { $0.command.description == "counter" })
            let id = try #require(process.addressSpace)
            try pages.forEachBatch(of: .addressSpace(id)) {
                runs += $0
                return true
            }
            let space = try #require(pages.spaces[id])
            let (first, last) = (try #require(runs.first), try #require(runs.last))
            // The last level's table: the walk to its entry, one level before the end.
            var table = space.tables.root.rawValue & ~0xfff
            for level in (2...space.tables.levels).reversed() {
                let slot = table + (first.address.rawValue >> UInt64(12 + 9 * (level - 1)) & 0x1ff) * 8
                var entry: UInt64 = 0
                // The buffer is the 8 bytes of `entry`.
                try unsafe withUnsafeMutableBytes(of: &entry) { try unsafe memory.read(PhysicalAddress(slot), into: $0) }
                table = entry & 0x000f_ffff_ffff_f000
            }
            let slot = PhysicalAddress(table + (first.address.rawValue >> 12 & 0x1ff) * 8)
            memory.write(last.frame.address.rawValue | 0x8000_0000_0000_0067, at: slot)
            changed = true
        }
        #expect(changed)
        let group = try #require(damaged.groups(named: ["counter"]).first)
        var pages = group.pages
        #expect(throws: PageSupplyError.self) {
            for id in group.group.addressSpaces.keys.sorted(by: { $0.rawValue < $1.rawValue }) {
                try pages.forEachBatch(of: .addressSpace(id)) { _ in true }
            }
        }
    }
}
