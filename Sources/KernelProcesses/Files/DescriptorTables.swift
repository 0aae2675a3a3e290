import GuestMemory
import KernelObjects
import ProcessModel

extension FileReader {
    /// The most descriptors believed of one table; `fs.nr_open` is 1,048,576 unless somebody raised it.
    static let descriptorLimit = 1 << 20

    /// The table of descriptors at `address` (`struct files_struct *`) that process `pid` uses.
    ///
    /// Called for each process: a table that several processes share is read once and keeps all their pids for obstacles.
    public mutating func descriptorTable(at address: VirtualAddress, pid: Int32) -> DescriptorTableID {
        if let known = tableIDs[address] {
            if tableHolders[known]?.contains(pid) == false { tableHolders[known]?.append(pid) }
            return known
        }
        let id = DescriptorTableID(rawValue: UInt32(truncatingIfNeeded: tableIDs.count &+ 1))
        tableIDs[address] = id
        tableHolders[id] = [pid]
        var descriptors: [Descriptor] = []
        do throws(MemoryFault) {
            for (number, file, closesOnExec) in try slots(ofTable: address) {
                countReference(to: file)
                descriptors.append(Descriptor(number: number, file: self.file(at: file), closesOnExec: closesOnExec))
            }
        } catch {
            gaps.append(Gap(object: "descriptors of process \(pid)", field: "files_struct", fault: error))
            obstacles.append(Obstacle(.refused, pid: pid, reason: "its table of descriptors could not be read: \(error)"))
        }
        descriptorTables[id] = DescriptorTable(descriptors: descriptors)
        return id
    }

    /// The occupied slots of a table, ascending.
    private mutating func slots(ofTable address: VirtualAddress) throws(MemoryFault) -> [(Int32, VirtualAddress, Bool)] {
        let layout = layout.table
        let table = try kernel.pointer(layout.current, of: address)
        let limit = Int(try kernel.uint32(layout.limit, of: table))
        guard limit <= Self.descriptorLimit else {
            throw MemoryFault(.damaged("table of \(limit) descriptors"), at: table)
        }
        try checkTable(at: table, of: address)
        let files = try kernel.pointer(layout.files, of: table)
        let closeOnExec = try kernel.pointer(layout.closeOnExec, of: table)
        let open = try kernel.pointer(layout.open, of: table)
        var slots: [(Int32, VirtualAddress, Bool)] = []
        // `max_fds` is a multiple of 64, and so are the lengths of the bit maps.
        for word in 0..<(limit + 63) / 64 {
            let occupied = try kernel.memory.integer(at: open + word * 8, as: UInt64.self)
            for bit in 0..<64 where occupied >> UInt64(bit) & 1 == 0 && word * 64 + bit < limit {
                // A number is taken before it gets its file, and given back after it has lost it.
                guard try kernel.memory.pointer(at: files + (word * 64 + bit) * 8).isNull else {
                    throw MemoryFault(.damaged("descriptor \(word * 64 + bit) is open and free at once"), at: table)
                }
            }
            if occupied == 0 { continue }
            let closing = try kernel.memory.integer(at: closeOnExec + word * 8, as: UInt64.self)
            for bit in 0..<64 where occupied >> UInt64(bit) & 1 == 1 && word * 64 + bit < limit {
                let number = word * 64 + bit
                let file = try kernel.memory.pointer(at: files + number * 8)
                // A number that is reserved and not yet given a file (between get_unused_fd_flags and fd_install) is empty.
                if file.isNull { continue }
                slots.append((Int32(number), file, closing >> UInt64(bit) & 1 == 1))
            }
        }
        return slots
    }

    /// Working directory, root and umask at `address` (`struct fs_struct *`) of process `pid`.
    public mutating func filesystemContext(at address: VirtualAddress, pid: Int32) -> FilesystemContextID {
        if let known = contextIDs[address] { return known }
        let id = FilesystemContextID(rawValue: UInt32(truncatingIfNeeded: contextIDs.count &+ 1))
        contextIDs[address] = id
        do throws(MemoryFault) {
            let fields = layout.filesystemContext
            filesystemContexts[id] = FilesystemContext(
                workingDirectory: try node(ofPathAt: address + fields.workingDirectory.offset),
                root: try node(ofPathAt: address + fields.root.offset), umask: try kernel.uint32(fields.umask, of: address))
        } catch {
            gaps.append(Gap(object: "process \(pid)", field: "fs_struct", fault: error))
            obstacles.append(Obstacle(.refused, pid: pid, reason: "its working directory could not be read: \(error)"))
            let unknown = FileNode(path: "/", type: .directory, mode: 0o40755)
            filesystemContexts[id] = FilesystemContext(workingDirectory: unknown, root: unknown, umask: 0o22)
        }
        return id
    }
}
