import Checkpoint
import GuestMemory
import ProcessModel
import Testing

@testable import KernelObjects
@testable import KernelProcesses

@Suite(.enabled(if: DumpUnderTest.path != nil, DumpUnderTest.comment), .serialized)
struct WholeDumpTests {
    @Test func everyGroupIsReadWithoutAGap() throws {
        let kernel = try DumpUnderTest.kernel()
        let groups = kernel.groups()
        #expect(groups.contains { $0.group.name == "counter" })
        #expect(kernel.gaps.isEmpty, "\(kernel.gaps)")
        for group in groups { #expect(!group.group.processes.isEmpty) }
    }

    /// The quick look at every process sees what the thorough one sees of those that are protected.
    @Test func listsAgreeWithWhatIsReadOfGroups() throws {
        let kernel = try DumpUnderTest.kernel()
        var listing = ProcessListing(kernel)
        let areas = Dictionary(uniqueKeysWithValues: listing.areas().map { ($0.pid, $0.items) })
        let descriptors = Dictionary(uniqueKeysWithValues: listing.descriptors().map { ($0.pid, $0.items) })
        #expect(kernel.gaps.isEmpty, "\(kernel.gaps)")
        for read in kernel.groups() {
            for process in read.group.processes {
                guard let space = process.addressSpace.flatMap({ read.group.addressSpaces[$0] }) else { continue }
                let listed = try #require(areas[process.pid])
                #expect(listed.map(\.start) == space.mappings.map(\.start))
                #expect(listed.map(\.end) == space.mappings.map(\.end))
                #expect(listed.map(\.protection) == space.mappings.map(\.protection))
                for (area, mapping) in zip(listed, space.mappings) {
                    switch mapping.kind {
                    case .heap: #expect(area.what == "[heap]")
                    case .stack: #expect(area.what == "[stack]")
                    case .vdso: #expect(area.what == "[vdso]")
                    case .privateFile(let id):
                        guard case .path(let node) = read.group.openFiles[id]?.kind, !node.isDeleted else { break }
                        #expect(area.what.hasSuffix("\(node.path)"))
                    default: break
                    }
                }
                guard let table = process.descriptorTable.flatMap({ read.group.descriptorTables[$0] }) else { continue }
                let files = try #require(descriptors[process.pid])
                #expect(files.map(\.number) == table.descriptors.map(\.number))
                #expect(files.map(\.flags) == table.descriptors.map { read.group.openFiles[$0.file]?.flags })
            }
        }
    }

    @Test func theLogTellsWhyTheKernelDied() throws {
        let message = try #require(try DumpUnderTest.kernel().panicMessage())
        #expect(message.hasPrefix("sysrq triggered crash"))
    }

    @Test func thePIDTableKnowsTheTasksOfTheList() throws {
        let kernel = try DumpUnderTest.kernel()
        let whole = Set(kernel.threadGroups())
        let damaged = try DumpUnderTest.kernel { kernel, memory in
            // The second task of the list points to nowhere.
            let second = kernel.threadGroups()[1]
            let next = try kernel.physical(second + kernel.layout.task.tasks.offset)
            memory.write(0xdead_beef_dead_0000, at: next)
        }
        #expect(Set(damaged.threadGroups()) == whole)
        #expect(damaged.gaps.contains { $0.object == "task list" })
    }

    @Test func aTaskListThatRunsInACircleEnds() throws {
        let whole = Set(try DumpUnderTest.kernel().threadGroups())
        let damaged = try DumpUnderTest.kernel { kernel, memory in
            let tasks = kernel.threadGroups()
            let link = kernel.layout.task.tasks.offset
            memory.write((tasks[3] + link).rawValue, at: try kernel.physical(tasks[10] + link))
        }
        #expect(Set(damaged.threadGroups()) == whole)
    }

    /// The damage costs the group that it hits, and no other.
    @Test func aTreeOfAreasThatLeadsBackToItselfCostsOneGroup() throws {
        let damaged = try DumpUnderTest.kernel { kernel, memory in
            let mm = try kernel.reader.pointer(kernel.layout.task.mm, of: kernel.leader(command: "counter"))
            let tree = try #require(kernel.layout.memory.tree)
            let maple = try #require(kernel.layout.memory.maple)
            let root = try kernel.reader.value(maple.root, of: mm + tree.offset)
            // The first slot of the root node, behind its parent and pivots, leads to the root again.
            for slot in 0..<10 { memory.write(root, at: try kernel.physical(VirtualAddress(root & ~0xff) + 80 + slot * 8)) }
        }
        let verdicts = Dictionary(
            uniqueKeysWithValues: damaged.groups().map { ($0.group.name, GroupCheckpoint.assess($0.group).verdict) })
        #expect(verdicts["counter"] == .refused)
        let clean = Dictionary(
            uniqueKeysWithValues: try DumpUnderTest.kernel().groups().map {
                ($0.group.name, GroupCheckpoint.assess($0.group).verdict)
            })
        for (name, verdict) in clean where name != "counter" { #expect(verdicts[name] == verdict) }
    }

    @Test func aPageTableEntryToNowhereIsAnError() throws {
        let damaged = try DumpUnderTest.kernel { kernel, memory in
            let mm = try kernel.reader.pointer(kernel.layout.task.mm, of: kernel.leader(command: "counter"))
            let pgd = try kernel.reader.pointer(kernel.layout.memory.pgd, of: mm)
            // The entry for the highest part of user space, where the stack is, leads beyond all memory.
            memory.write(0x000f_ffff_ffff_f067, at: try kernel.physical(pgd + 255 * 8))
        }
        let group = try #require(damaged.groups().first { $0.group.name == "counter" })
        var pages = group.pages
        #expect(throws: PageSupplyError.self) {
            for id in group.group.addressSpaces.keys { try pages.forEachBatch(of: .addressSpace(id)) { _ in true } }
        }
    }

    /// Whatever a word of a task, its memory or its signals is overwritten with, the walk ends.
    @Test func overwrittenWordsAreSurvived() throws {
        var random = SeededGenerator(seed: 0x5eed)
        for round in 0..<40 {
            let damaged = try DumpUnderTest.kernel { kernel, memory in
                let task = try kernel.leader(command: "counter")
                let mm = try kernel.reader.pointer(kernel.layout.task.mm, of: task)
                let signal = try kernel.reader.pointer(kernel.layout.task.signal, of: task)
                let files = try kernel.reader.pointer(kernel.layout.task.files, of: task)
                for object in [task, mm, signal, files] {
                    for _ in 0..<4 {
                        let offset = Int.random(in: 0..<120, using: &random) * 8
                        let word: UInt64 =
                            round % 2 == 0 ? .random(in: .min ... .max, using: &random) : task.rawValue &+ UInt64(offset)
                        memory.write(word, at: try kernel.physical(object + offset))
                    }
                }
            }
            for group in damaged.groups() { _ = GroupCheckpoint.assess(group.group) }
        }
    }
}

/// SplitMix64: the same numbers in each run, so that a failure can be seen again.
struct SeededGenerator: RandomNumberGenerator {
    private var state: UInt64
    init(seed: UInt64) { state = seed }

    mutating func next() -> UInt64 {
        state &+= 0x9e37_79b9_7f4a_7c15
        var value = state
        value = (value ^ (value >> 30)) &* 0xbf58_476d_1ce4_e5b9
        value = (value ^ (value >> 27)) &* 0x94d0_49bb_1331_11eb
        return value ^ (value >> 31)
    }
}
