import KernelObjects
import KernelTypes

/// `struct mm_struct` and `struct vm_area_struct` (include/linux/mm_types.h).
struct AddressSpaceLayout: Sendable {
    let pgd: Field
    /// Since 6.1 (commit 524e00b36e8c) a maple tree; before it a list through `vm_next`.
    let tree: Field?
    let list: Field?
    let startCode, endCode, startData, endData, startStack, startBreak, currentBreak: Field
    let argumentsStart, argumentsEnd, environmentStart, environmentEnd: Field
    let auxiliaryVector: Field
    let flags: Field
    /// What new areas begin with.
    let futureFlags: Field?
    /// Of the processor's part of it; nil: the kernel knows no protection keys.
    let protectionKeys: Field?
    /// Present with CONFIG_MEMBARRIER.
    let memoryBarriers: Field?
    let executable: Field
    let ioContexts: Field?
    /// Of the processor's part of it.
    let segmentDescriptors: Field?
    /// nil: not known for this kernel.
    let mergeFlag: UInt64?

    let start, end, offset, areaFlags, operations, file, privateData, areaSpace: Field
    /// With CONFIG_NUMA.
    let areaPolicy: Field?
    /// With CONFIG_USERFAULTFD.
    let areaFaults: Field?
    /// The flag of an area in which there may be pages made untouchable, since 7.0; 0 before.
    let guardFlag: UInt64
    let next: Field?
    let specialName: Field
    let maple: MapleTreeLayout?

    let fileInode, filePathMount: Field
    let inodeMode, inodeSuperblock: Field
    let superblockMagic: Field

    init(_ types: TypeTable) throws(KernelError) {
        let mm = try types.structure("mm_struct")
        pgd = try mm.field("pgd")
        tree = mm.optional("mm_mt")
        list = mm.optional("mmap")
        guard tree != nil || list != nil else { throw .noField(type: "mm_struct", field: "mm_mt or mmap") }
        startCode = try mm.field("start_code")
        endCode = try mm.field("end_code")
        startData = try mm.field("start_data")
        endData = try mm.field("end_data")
        startStack = try mm.field("start_stack")
        startBreak = try mm.field("start_brk")
        currentBreak = try mm.field("brk")
        argumentsStart = try mm.field("arg_start")
        argumentsEnd = try mm.field("arg_end")
        environmentStart = try mm.field("env_start")
        environmentEnd = try mm.field("env_end")
        auxiliaryVector = try mm.field("saved_auxv")
        flags = try mm.field("flags")
        futureFlags = mm.optional("def_flags")
        protectionKeys = mm.optional("context.pkey_allocation_map")
        memoryBarriers = mm.optional("membarrier_state")
        executable = try mm.field("exe_file")
        ioContexts = mm.optional("ioctx_table")
        segmentDescriptors = mm.optional("context.ldt")
        mergeFlag = SamePageMerging.flag(mm)

        let area = try types.structure("vm_area_struct")
        start = try area.field("vm_start")
        end = try area.field("vm_end")
        offset = try area.field("vm_pgoff")
        areaFlags = try area.field(anyOf: "vm_flags", "__vm_flags")
        operations = try area.field("vm_ops")
        file = try area.field("vm_file")
        privateData = try area.field("vm_private_data")
        areaSpace = try area.field("vm_mm")
        areaPolicy = area.optional("vm_policy")
        areaFaults = area.optional("vm_userfaultfd_ctx.ctx")
        let guardBit = types.enumerator("VMA_MAYBE_GUARD_BIT") ?? -1
        guardFlag = 0..<64 ~= guardBit ? 1 << UInt64(guardBit) : 0
        next = area.optional("vm_next")
        specialName = try types.structure("vm_special_mapping").field("name")
        maple = types.has("maple_tree") && tree != nil ? try MapleTreeLayout(types) : nil

        let file = try types.structure("file")
        fileInode = try file.field("f_inode")
        filePathMount = try file.field("f_path.mnt")
        let inode = try types.structure("inode")
        inodeMode = try inode.field("i_mode")
        inodeSuperblock = try inode.field("i_sb")
        superblockMagic = try types.structure("super_block").field("s_magic")
    }
}

/// Flags of a VMA (VM_*, include/linux/mm.h).
enum AreaFlags {
    static let protection: UInt64 = 0x7
    static let mayShare: UInt64 = 0x80
    static let growsDown: UInt64 = 0x100
    static let pfnMap: UInt64 = 0x400
    static let locked: UInt64 = 0x2000
    static let io: UInt64 = 0x4000
    static let lockedOnFault: UInt64 = 0x8_0000
    static let noReserve: UInt64 = 0x20_0000
    static let hugeTLB: UInt64 = 0x40_0000
    static let mixedMap: UInt64 = 0x1000_0000
    /// VM_PKEY_SHIFT; four bits from there.
    static let protectionKeyShift: UInt64 = 32

    /// The flag that each MADV_* leaves behind.
    static let advice: [(flag: UInt64, advice: UInt64)] = [
        (0x8000, 2), (0x1_0000, 1), (0x2_0000, 10), (0x200_0000, 18), (0x400_0000, 16), (0x2000_0000, 14), (0x4000_0000, 15),
        (0x8000_0000, 12),
    ]
}
