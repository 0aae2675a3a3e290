import GuestMemory
import KernelObjects
import ProcessModel

/// A line of a list of processes.
public struct ProcessSummary: Sendable {
    public var pid: Int32
    public var parentPID: Int32
    /// As `ps` has it: R, S, D, T, Z, I.
    public var state: String
    public var threads: Int
    /// The protected group it is in.
    public var group: String?
    public var command: String
}

/// One process, in a group of its own so that nothing else needs to be read.
public struct ReadProcess {
    public var process: DeadProcess
    public var group: ReadGroup
    public var addressSpace: AddressSpace? { process.addressSpace.flatMap { group.group.addressSpaces[$0] } }
}

extension DeadKernel {
    /// Contexts of vCPUs that are known.
    public var vcpuCount: Int { cpus.count }

    /// All processes, kernel threads too.
    public func processList() -> [ProcessSummary] {
        threadGroups().compactMap { leader in
            do throws(MemoryFault) {
                return try summary(of: leader)
            } catch {
                gaps.append(Gap(object: describe(leader), field: "process list", fault: error))
                return nil
            }
        }
    }

    private func summary(of leader: TaskAddress) throws(MemoryFault) -> ProcessSummary {
        let fields = layout.task
        let parent = try reader.pointer(fields.realParent, of: leader)
        let path = try cgroupPath(of: leader)
        return ProcessSummary(
            pid: try reader.int32(fields.tgid, of: leader), parentPID: try reader.int32(fields.tgid, of: parent),
            state: try stateLetter(of: leader), threads: try threads(of: leader).count, group: Self.groupName(ofCgroup: path),
            command: String(decoding: try reader.text(fields.comm, of: leader), as: UTF8.self))
    }

    /// The letters of `task_state_array` (fs/proc/array.c).
    private func stateLetter(of task: TaskAddress) throws(MemoryFault) -> String {
        if try reader.value(layout.task.exitState, of: task) & 0x30 != 0 { return "Z" }
        let state = try reader.value(layout.task.state, of: task)
        if state & 0x402 == 0x402 { return "I" }
        return switch state & 0x7f {
        case 0: "R"
        case 1: "S"
        case 2: "D"
        case 4: "T"
        case 8: "t"
        default: "?"
        }
    }

    /// Reads one process, whether it is protected or not.
    /// - Throws: `Gap` with what could not be read, or that there is no such process.
    public func process(pid: Int32) throws(Gap) -> ReadProcess {
        guard let leader = threadGroups().first(where: { (try? reader.int32(layout.task.tgid, of: $0)) == pid }) else {
            throw Gap(object: "process \(pid)", field: "task list", fault: MemoryFault(.damaged("no such process"), at: .null))
        }
        let clocks = (try? clocks()) ?? GuestClocks(monotonicNanoseconds: 0, boottimeNanoseconds: 0, realtimeNanoseconds: 0)
        var builder = GroupBuilder(kernel: self, name: "inspect", clocks: clocks, initNamespaces: Namespaces())
        builder.add(leader)
        let read = builder.finish()
        guard let process = read.group.processes.first else {
            throw gaps.last
                ?? Gap(object: "process \(pid)", field: "task", fault: MemoryFault(.damaged("unreadable"), at: leader))
        }
        return ReadProcess(process: process, group: read)
    }
}

extension KernelPages {
    /// How many pages of an area would be saved.
    public mutating func savedPages(of mapping: Mapping, in id: AddressSpaceID?) throws -> Int {
        guard let id, let space = spaces[id] else { return 0 }
        var count = 0
        var collector = RunCollector(limit: Self.batch)
        let body: ([PageRun]) -> Bool = { runs in
            count += runs.reduce(0) { $0 + Int($1.count) }
            return true
        }
        guard let area = space.value.mappings.firstIndex(of: mapping) else { return 0 }
        var budget = PageTableBudget(of: kernel.source, ranges: 1)
        try forEachPage(ofArea: area, in: space, within: &budget, &collector, body)
        try collector.flush(body)
        return count
    }
}
