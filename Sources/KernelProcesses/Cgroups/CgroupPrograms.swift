import GuestMemory
import KernelObjects
import KernelTypes
import ProcessModel

/// From a cgroup to the eBPF programs attached to it (include/linux/bpf-cgroup-defs.h, include/linux/bpf-cgroup.h, include/linux/filter.h).
struct CgroupProgramsLayout: Sendable {
    /// Lists of programs by what they are asked for; `struct hlist_head` since 6.0 (commit 00442143a2ab), `struct list_head` before.
    let lists: Field
    /// How they were attached, by the same index.
    let flags: Field
    /// The list of those that are asked about devices; nil: not known.
    let deviceList: Int?
    let listLink: Field
    /// null for a program that was attached by a link.
    let program: Field
    let type: Field
    let length: Field
    let instructions: Field

    /// nil in a kernel without them.
    init?(_ types: TypeTable) {
        do throws(KernelError) {
            let cgroup = try types.structure("cgroup")
            lists = try cgroup.field("bpf.progs")
            flags = try cgroup.field("bpf.flags")
            // Before 5.15 by the number that bpf(2) has for it (commit 6fc88c354f3a).
            deviceList = (types.enumerator("CGROUP_DEVICE") ?? types.enumerator("BPF_CGROUP_DEVICE")).map { Int($0) }
            let entry = try types.structure("bpf_prog_list")
            listLink = try entry.field("node")
            program = try entry.field("prog")
            let program = try types.structure("bpf_prog")
            type = try program.field("type")
            length = try program.field("len")
            instructions = try program.field("insnsi")
        } catch { return nil }
    }
}

extension DeadKernel {
    /// BPF_PROG_TYPE_CGROUP_DEVICE (include/uapi/linux/bpf.h).
    private static let deviceProgram: UInt64 = 15
    /// A cgroup takes at most 64 programs of a kind (BPF_CGROUP_MAX_PROGS); more of all kinds are not believed.
    private static let programLimit = 64
    /// BPF_MAXINSNS: what a filter of devices needs is a few for each of them.
    private static let instructionLimit: UInt64 = 4096

    /// The programs attached to a cgroup: filters of devices that can be loaded again, and how many others there are.
    /// - Parameter budget: instructions that the filters may still have.
    func programs(
        of cgroup: VirtualAddress, instructions budget: inout Int
    ) throws(MemoryFault) -> (deviceFilters: [ControlGroup.DeviceFilter], others: Int) {
        guard let fields = layout.cgroup.programs else { return ([], 0) }
        var filters: [ControlGroup.DeviceFilter] = []
        var others = 0
        var limit = Self.programLimit
        for index in 0..<fields.lists.count {
            var entries: [VirtualAddress] = []
            let list = fields.lists.element(index)
            let head = cgroup + list.offset
            let fault =
                list.size == 8
                ? reader.forEach(onHashList: head, link: fields.listLink, limit: limit) { entries.append($0) }
                : reader.forEach(onList: head, link: fields.listLink, limit: limit) { entries.append($0) }
            if let fault { throw fault }
            limit -= entries.count
            for entry in entries {
                let program = try reader.pointer(fields.program, of: entry)
                guard (fields.deviceList ?? index) == index, !program.isNull,
                    try reader.value(fields.type, of: program) == Self.deviceProgram,
                    let instructions = try instructions(of: program, fields, budget: &budget)
                else {
                    others += 1
                    continue
                }
                let flags = index < fields.flags.count ? try reader.uint32(fields.flags.element(index), of: cgroup) : 0
                filters.append(.init(instructions: instructions, attachFlags: flags & 3))
            }
        }
        return (filters, others)
    }

    /// A program as it was loaded; nil when it cannot be had back from what the kernel has made of it.
    ///
    /// The kernel's checks replace what refers to maps, calls and fields of the program's context. Nothing of that is needed to filter devices
    /// (`cg_dev_verifier_ops` converts no access to the context), so a program that has none of it is as it came.
    private func instructions(
        of program: VirtualAddress, _ fields: CgroupProgramsLayout, budget: inout Int
    ) throws(MemoryFault) -> [UInt64]? {
        let count = try reader.value(fields.length, of: program)
        guard 1...Self.instructionLimit ~= count else { return nil }
        guard Int(count) <= budget else { throw MemoryFault(.damaged("too many device filters"), at: program) }
        budget -= Int(count)
        let bytes = try reader.memory.bytes(at: program + fields.instructions.offset, count: Int(count) * 8)
        let instructions = stride(from: 0, to: bytes.count, by: 8).map { start in
            bytes[start..<start + 8].reversed().reduce(UInt64(0)) { $0 << 8 | UInt64($1) }
        }
        var index = 0
        while index < instructions.count {
            let operation = UInt8(truncatingIfNeeded: instructions[index])
            let destination = instructions[index] >> 8 & 0xf, source = instructions[index] >> 12 & 0xf
            // Registers beyond the frame pointer are the kernel's own (BPF_REG_AX).
            guard destination <= 10, source <= 10 else { return nil }
            switch operation {
            case 0x85: return nil
            case 0x18:
                // A constant of 64 bits takes two; with a source it is the address of something.
                guard source == 0 else { return nil }
                index += 2
            default: index += 1
            }
        }
        return instructions
    }
}
