import GuestMemory
import KernelObjects
import KernelTypes
import ProcessModel

/// An address space as the walk knows it: the values for the checkpoint, and where its page tables are.
struct ReadAddressSpace {
    var value: AddressSpace
    var tables: PageTables
    /// Of each mapping, in their order.
    var facts: [AreaFacts]
    /// The kernel's own; nil when they are not known for sure.
    var pageCounts: PageCounts?
}

extension DeadKernel {
    /// TASK_SIZE_MAX with 5-level page tables.
    private static let userLimit: UInt64 = 1 << 56
    /// vm.max_map_count can be raised to this.
    private static let areaLimit = 1 << 20

    /// Reads `struct mm_struct` and its areas.
    /// - Throws: at the first area that cannot be read: a process whose memory is not fully known must not run on.
    func addressSpace(at mm: VirtualAddress, files: inout FileReader) throws(MemoryFault) -> ReadAddressSpace {
        let fields = layout.memory
        var space = AddressSpace()
        space.startCode = try reader.pointer(fields.startCode, of: mm)
        space.endCode = try reader.pointer(fields.endCode, of: mm)
        space.startData = try reader.pointer(fields.startData, of: mm)
        space.endData = try reader.pointer(fields.endData, of: mm)
        space.startStack = try reader.pointer(fields.startStack, of: mm)
        space.startBreak = try reader.pointer(fields.startBreak, of: mm)
        space.currentBreak = try reader.pointer(fields.currentBreak, of: mm)
        space.argumentsStart = try reader.pointer(fields.argumentsStart, of: mm)
        space.argumentsEnd = try reader.pointer(fields.argumentsEnd, of: mm)
        space.environmentStart = try reader.pointer(fields.environmentStart, of: mm)
        space.environmentEnd = try reader.pointer(fields.environmentEnd, of: mm)
        for index in 0..<min(fields.auxiliaryVector.count, 256) {
            space.auxiliaryVector.append(try reader.value(fields.auxiliaryVector.element(index), of: mm))
        }
        // MMF_DUMPABLE_MASK and MMF_DISABLE_THP of the flags' first word (include/linux/sched/coredump.h).
        let flags = try reader.memory.integer(at: mm + fields.flags.offset, as: UInt64.self)
        space.dumpable = Int32(flags & 3)
        space.transparentHugePagesDisabled = flags >> 24 & 1 == 1
        // MMF_HAS_MDWE, since 6.3 (commit b507808ebce2). Where the bit means something else, as in 5.14 to 5.17, the kernel has no such prctl.
        space.refusesExecutableGain = flags >> 28 & 1 == 1
        if let flag = fields.mergeFlag { space.mergesFutureMappings = flags & flag != 0 }
        // MMF_DUMP_FILTER_SHIFT and MMF_DUMP_FILTER_BITS.
        space.coredumpFilter = UInt32(flags >> 2 & 0x1ff)
        if let field = fields.futureFlags {
            let future = try reader.value(field, of: mm)
            space.locksFutureMappings = future & AreaFlags.locked != 0
            space.locksFutureMappingsOnFault = future & AreaFlags.lockedOnFault != 0
        }
        if let field = fields.memoryBarriers { space.memoryBarriers = try reader.uint32(field, of: mm) }
        if let field = fields.protectionKeys {
            space.protectionKeys = UInt16(truncatingIfNeeded: try reader.value(field, of: mm))
        }
        space.hasSegmentDescriptors = try hasSegmentDescriptors(mm)
        space.asynchronousIO = try asynchronousIO(of: mm)
        let executable = try reader.pointer(fields.executable, of: mm)
        if !executable.isNull {
            files.countReference(to: executable)
            space.executable = files.file(at: executable)
        }

        let root = try reader.memory.translate(reader.pointer(fields.pgd, of: mm))
        let kernel = manifest.tables
        let tables = PageTables(root: root, levels: kernel.levels, encryptionMask: kernel.encryptionMask)

        var areas: [(VirtualAddress, ClosedRange<UInt64>?)] = []
        if let fault = forEachArea(of: mm, { areas.append(($0, $1)) }) { throw fault }
        var end: UInt64 = 0
        var facts: [AreaFacts] = []
        var budget = PageTableBudget(of: source, ranges: areas.count)
        // A hundred thousand areas are not to be moved about while their list grows.
        facts.reserveCapacity(areas.count)
        space.mappings.reserveCapacity(areas.count)
        for (area, range) in areas {
            guard try reader.pointer(fields.areaSpace, of: area) == mm else {
                throw MemoryFault(.damaged("area that belongs to another address space"), at: area)
            }
            let mapping = try mapping(at: area, in: space, files: &files)
            guard mapping.start.rawValue >= end, mapping.start < mapping.end, mapping.end.rawValue <= Self.userLimit,
                mapping.start.offsetInPage == 0, mapping.end.offsetInPage == 0
            else { throw MemoryFault(.damaged("area \(mapping.start)-\(mapping.end) out of order"), at: area) }
            // The tree's own limits of the entry.
            require(
                range.map { $0 == mapping.start.rawValue...(mapping.end.rawValue - 1) } ?? true,
                "area \(mapping.start)-\(mapping.end) stands elsewhere in its tree", at: area)
            end = mapping.end.rawValue
            space.mappings.append(mapping)
            facts.append(try self.facts(ofArea: area, hugePageBytes: mapping.hugePageBytes))
            if try reader.value(fields.areaFlags, of: area) & fields.guardFlag != 0 {
                space.guardRegions += try guardRegions(in: mapping, tables: tables, within: &budget)
            }
        }
        try check(space, at: mm, pageTables: root)
        return ReadAddressSpace(value: space, tables: tables, facts: facts)
    }

    /// The pages of an area that MADV_GUARD_INSTALL made untouchable.
    private func guardRegions(
        in mapping: Mapping, tables: PageTables, within budget: inout PageTableBudget
    ) throws(MemoryFault) -> [Range<VirtualAddress>] {
        var regions: [Range<VirtualAddress>] = []
        do {
            try tables.forEachEntry(
                in: mapping.start..<mapping.end, from: source, within: &budget, fault: { throw $1 }
            ) { address, entry in
                guard entry.isGuard, address >= mapping.start, address < mapping.end else { return }
                let end = address + FrameNumber.size
                if let last = regions.last, last.upperBound == address {
                    regions[regions.count - 1] = last.lowerBound..<end
                } else {
                    regions.append(address..<end)
                }
            }
        } catch let fault as MemoryFault {
            throw fault
        } catch {
            throw MemoryFault(.damaged("page tables"), at: mapping.start)
        }
        return regions
    }

    func forEachArea(of mm: VirtualAddress, _ body: (VirtualAddress, ClosedRange<UInt64>?) -> Void) -> MemoryFault? {
        if let tree = layout.memory.tree, let maple = layout.memory.maple {
            return reader.forEach(inMapleTree: mm + tree.offset, layout: maple, limit: Self.areaLimit, body)
        }
        guard let list = layout.memory.list, let next = layout.memory.next else {
            return MemoryFault(.damaged("no way to the areas"), at: mm)
        }
        do throws(MemoryFault) {
            var area = try reader.pointer(list, of: mm)
            var count = 0
            while !area.isNull {
                guard count < Self.areaLimit else { throw MemoryFault(.damaged("list of too many areas"), at: area) }
                body(area, nil)
                count += 1
                area = try reader.pointer(next, of: area)
            }
            return nil
        } catch {
            return error
        }
    }

    private func mapping(at area: VirtualAddress, in space: AddressSpace, files: inout FileReader) throws(MemoryFault)
        -> Mapping
    {
        let fields = layout.memory
        let flags = try reader.value(fields.areaFlags, of: area)
        try checkFlags(flags, of: area)
        let start = try reader.pointer(fields.start, of: area)
        let end = try reader.pointer(fields.end, of: area)
        let kind = try kind(of: area, flags: flags, start: start, end: end, in: space, files: &files)
        // The offset of an anonymous area is the number of its page where it was born, which nobody needs.
        let hasOffset =
            switch kind {
            case .privateFile, .sharedFile, .sharedAnonymous, .memfd, .systemVSharedMemory, .packetRing: true
            default: false
            }
        var advice: UInt64 = 0
        for entry in AreaFlags.advice where flags & entry.flag != 0 { advice |= 1 << entry.advice }
        var mapping = Mapping(
            start: start, end: end,
            offsetBytes: hasOffset ? try reader.value(fields.offset, of: area) &* 4096 : 0,
            protection: UInt32(flags & AreaFlags.protection), kind: kind, growsDown: flags & AreaFlags.growsDown != 0,
            isLocked: flags & AreaFlags.locked != 0, isNoReserve: flags & AreaFlags.noReserve != 0, adviceBits: advice)
        switch kind {
        case .systemVSharedMemory(let memory, _, _, _): mapping.hugePageBytes = files.sharedMemory[memory]?.hugePageBytes ?? 0
        case .memfd(let file, _):
            guard case .memfd(let memory) = files.openFiles[file]?.kind else { break }
            mapping.hugePageBytes = files.sharedMemory[memory]?.hugePageBytes ?? 0
        default: break
        }
        mapping.isLockedOnFault = flags & AreaFlags.lockedOnFault != 0
        mapping.protectionKey = UInt8(flags >> AreaFlags.protectionKeyShift & 0xf)
        if let field = fields.areaPolicy { mapping.hasMemoryPolicy = try !reader.pointer(field, of: area).isNull }
        return mapping
    }

    /// What the kernel calls an area that it made itself; nil for those of programs.
    func specialName(ofArea area: VirtualAddress) throws(MemoryFault) -> String? {
        let fields = layout.memory
        let operations = try reader.pointer(fields.operations, of: area)
        guard !operations.isNull, operations == manifest.symbols.addresses["special_mapping_vmops"] else { return nil }
        let special = try reader.pointer(fields.privateData, of: area)
        return try reader.memory.string(at: reader.pointer(fields.specialName, of: special), limit: 64)
    }

    private func kind(
        of area: VirtualAddress, flags: UInt64, start: VirtualAddress, end: VirtualAddress, in space: AddressSpace,
        files: inout FileReader
    ) throws(MemoryFault) -> Mapping.Kind {
        let fields = layout.memory
        if let faults = fields.areaFaults, try !reader.pointer(faults, of: area).isNull {
            return .unsupported("memory whose faults a userfaultfd handles")
        }
        switch try specialName(ofArea: area) {
        case nil: break
        case "[vdso]": return .vdso
        case "[vvar]", "[vvar_vclock]": return .vvar
        case let name?: return .unsupported("kernel mapping \(name)")
        }
        let operations = try reader.pointer(fields.operations, of: area)
        let file = try reader.pointer(fields.file, of: area)
        if flags & AreaFlags.hugeTLB != 0 {
            return try hugePageKind(of: file, operations, isShared: flags & AreaFlags.mayShare != 0, &files)
        }
        if flags & AreaFlags.mixedMap != 0, !file.isNull,
            let ring = try packetRing(of: area, file, isShared: flags & AreaFlags.mayShare != 0, &files)
        {
            return ring
        }
        if flags & (AreaFlags.pfnMap | AreaFlags.io | AreaFlags.mixedMap) != 0 { return .unsupported("device memory") }
        let isShared = flags & AreaFlags.mayShare != 0
        if file.isNull {
            if isShared { return .unsupported("shared memory without a file") }
            if start <= space.currentBreak, end >= space.startBreak, space.startBreak < space.currentBreak { return .heap }
            if start <= space.startStack, space.startStack < end { return .stack }
            return .anonymous
        }
        files.countReference(to: file)
        let inode = try reader.pointer(fields.fileInode, of: file)
        if !operations.isNull, operations == manifest.symbols.addresses["aio_ring_vm_ops"] {
            return try .asynchronousIORing(identity(ofInode: inode))
        }
        let mode = try reader.value(fields.inodeMode, of: inode)
        guard mode & 0o170000 == 0o100000 else {
            return .unsupported("memory mapped from something that is no regular file")
        }
        if let segment = try systemVSegment(file, operations, isShared: isShared, &files) { return segment }
        if try isKernelInternal(file) {
            let id = files.file(at: file)
            let shared = files.sharedMemory(ofInode: inode)
            guard case .memfd = files.openFiles[id]?.kind else {
                return isShared ? .sharedAnonymous(shared) : .unsupported("private mapping of System V shared memory")
            }
            if files.isAnonymous(shared), isShared {
                files.anonymousFiles[shared] = id
                return .sharedAnonymous(shared)
            }
            return .memfd(id, isPrivate: !isShared)
        }
        let id = files.file(at: file)
        return isShared ? .sharedFile(id) : .privateFile(id)
    }

    /// Attached System V shared memory; nil: it is something else.
    private func systemVSegment(
        _ file: VirtualAddress, _ operations: VirtualAddress, isShared: Bool, _ files: inout FileReader
    ) throws(MemoryFault) -> Mapping.Kind? {
        guard !operations.isNull, operations == manifest.symbols.addresses["shm_vm_ops"], let ipc = layout.ipc else {
            return nil
        }
        guard isShared else { return .unsupported("private mapping of System V shared memory") }
        let attachment = try reader.pointer(layout.files.file.privateData, of: file)
        let namespace = try reader.pointer(ipc.attachmentNamespace, of: attachment)
        return .systemVSharedMemory(
            files.sharedMemory(ofInode: try reader.pointer(layout.memory.fileInode, of: file)),
            id: try reader.int32(ipc.attachmentID, of: attachment),
            namespace: try reader.uint32(layout.namespaces.ipc.number, of: namespace),
            // FMODE_WRITE
            isWritable: try reader.value(layout.files.file.mode, of: file) & 2 != 0)
    }

    /// A mapped socket; nil: it is something else.
    private func packetRing(
        of area: VirtualAddress, _ file: VirtualAddress, isShared: Bool, _ files: inout FileReader
    ) throws(MemoryFault) -> Mapping.Kind? {
        let inode = try reader.pointer(layout.memory.fileInode, of: file)
        guard try reader.value(layout.memory.inodeMode, of: inode) & 0o170000 == 0o140000 else { return nil }
        let id = files.file(at: file)
        guard case .packetSocket = files.openFiles[id]?.kind else { return nil }
        files.countReference(to: file)
        // Pages that were written to are the process's own then, and no longer the ring's.
        if !isShared {
            guard let pages = layout.memoryChecks.anonymousVMA, try reader.pointer(pages, of: area).isNull else {
                return .unsupported("private mapping of a packet socket that was written to")
            }
        }
        return .packetRing(id, isPrivate: !isShared)
    }

    /// An area of hugetlb's pages: each has a file, of a memfd or one that nobody can name.
    private func hugePageKind(
        of file: VirtualAddress, _ operations: VirtualAddress, isShared: Bool, _ files: inout FileReader
    ) throws(MemoryFault) -> Mapping.Kind {
        guard !file.isNull else { return .unsupported("huge pages without a file") }
        files.countReference(to: file)
        if let segment = try systemVSegment(file, operations, isShared: isShared, &files) { return segment }
        let id = files.file(at: file)
        guard case .memfd = files.openFiles[id]?.kind else { return .unsupported("file of a mounted hugetlbfs") }
        return .memfd(id, isPrivate: !isShared)
    }

    /// Whether a file lives on the mount that the kernel keeps for itself (`shm_mnt`, mm/shmem.c): shared anonymous memory,
    /// memfds, System V shared memory.
    private func isKernelInternal(_ file: VirtualAddress) throws(MemoryFault) -> Bool {
        guard let internalMount = try reader.variable("shm_mnt") else { return false }
        return try reader.pointer(layout.memory.filePathMount, of: file) == VirtualAddress(internalMount)
    }
}
