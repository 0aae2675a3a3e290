import GuestMemory
import KernelObjects
import ProcessModel

/// A process of a list, with what is listed of it.
public struct ListedProcess<Item: Sendable>: Sendable {
    public var pid: Int32
    public var command: String
    public var items: [Item]
}

/// An area of a process's memory, as /proc/PID/maps has it.
public struct ListedArea: Sendable {
    public var start: VirtualAddress
    public var end: VirtualAddress
    /// PROT_* of mmap(2).
    public var protection: UInt32
    public var isShared: Bool
    public var offsetBytes: UInt64
    /// A path, or a name in brackets; empty for anonymous memory.
    public var what: String
}

/// A descriptor of a process, as /proc/PID/fd and fdinfo have it.
public struct ListedDescriptor: Sendable {
    public var number: Int32
    public var flags: UInt32
    public var position: UInt64
    /// A path, or what `readlink` of /proc/PID/fd/N gives for what has none.
    public var what: String
}

/// Lists of what all processes have: a look at each thing, where ``DeadKernel/groups(named:)`` reads everything that a restore needs.
public struct ProcessListing {
    private let kernel: DeadKernel
    private let operations: FileOperations
    private var paths: [Place: String] = [:]

    private struct Place: Hashable {
        var mount: VirtualAddress
        var dentry: VirtualAddress
    }

    public init(_ kernel: DeadKernel) {
        self.kernel = kernel
        operations = FileOperations(symbols: kernel.manifest.symbols)
    }

    /// The areas of all processes that have memory. What cannot be read of one becomes a gap, and the list goes on.
    public mutating func areas() -> [ListedProcess<ListedArea>] {
        var result: [ListedProcess<ListedArea>] = []
        for process in processes() {
            do throws(MemoryFault) {
                result.append(process.listed(try areas(of: process.memory)))
            } catch {
                note(error, process, "mm_struct")
            }
        }
        return result
    }

    /// The descriptors of all processes that have memory: zombies have none, kernel threads none of their own.
    public mutating func descriptors() -> [ListedProcess<ListedDescriptor>] {
        var result: [ListedProcess<ListedDescriptor>] = []
        for process in processes() {
            do throws(MemoryFault) {
                let table = try kernel.reader.pointer(kernel.layout.task.files, of: process.leader)
                // Given up by a process that was about to end.
                result.append(process.listed(table.isNull ? [] : try descriptors(ofTable: table)))
            } catch {
                note(error, process, "files_struct")
            }
        }
        return result
    }

    private struct Process {
        var leader: TaskAddress
        var memory: VirtualAddress
        var pid: Int32
        var command: String

        func listed<Item>(_ items: [Item]) -> ListedProcess<Item> { ListedProcess(pid: pid, command: command, items: items) }
    }

    private func processes() -> [Process] {
        let fields = kernel.layout.task
        let reader = kernel.reader
        var result: [Process] = []
        for leader in kernel.threadGroups() {
            do throws(MemoryFault) {
                let memory = try reader.pointer(fields.mm, of: leader)
                if memory.isNull { continue }
                result.append(
                    Process(
                        leader: leader, memory: memory, pid: try reader.int32(fields.tgid, of: leader),
                        command: String(decoding: try reader.text(fields.comm, of: leader), as: UTF8.self)))
            } catch {
                kernel.gaps.append(Gap(object: kernel.describe(leader), field: "task_struct", fault: error))
            }
        }
        return result
    }

    private func note(_ fault: MemoryFault, _ process: Process, _ field: String) {
        kernel.gaps.append(Gap(object: kernel.describe(process.leader), field: field, fault: fault))
    }

    private mutating func areas(of memory: VirtualAddress) throws(MemoryFault) -> [ListedArea] {
        var areas: [VirtualAddress] = []
        if let fault = kernel.forEachArea(of: memory, { area, _ in areas.append(area) }) { throw fault }
        let fields = kernel.layout.memory
        let program = Program(
            startBreak: try kernel.reader.pointer(fields.startBreak, of: memory),
            currentBreak: try kernel.reader.pointer(fields.currentBreak, of: memory),
            startStack: try kernel.reader.pointer(fields.startStack, of: memory))
        var result: [ListedArea] = []
        result.reserveCapacity(areas.count)
        for area in areas { result.append(try self.area(at: area, of: program)) }
        return result
    }

    private struct Program {
        var startBreak, currentBreak, startStack: VirtualAddress
    }

    private mutating func area(at area: VirtualAddress, of program: Program) throws(MemoryFault) -> ListedArea {
        let fields = kernel.layout.memory
        let reader = kernel.reader
        let flags = try reader.value(fields.areaFlags, of: area)
        var listed = ListedArea(
            start: try reader.pointer(fields.start, of: area), end: try reader.pointer(fields.end, of: area),
            protection: UInt32(flags & AreaFlags.protection), isShared: flags & AreaFlags.mayShare != 0, offsetBytes: 0,
            what: "")
        let file = try reader.pointer(fields.file, of: area)
        if !file.isNull {
            listed.offsetBytes = try reader.value(fields.offset, of: area) << 12
            listed.what = try name(ofFile: file)
        } else if let name = try kernel.specialName(ofArea: area) {
            listed.what = name
        } else if listed.start <= program.currentBreak, listed.end >= program.startBreak,
            program.startBreak < program.currentBreak
        {
            listed.what = "[heap]"
        } else if listed.start <= program.startStack, program.startStack < listed.end {
            listed.what = "[stack]"
        }
        return listed
    }

    private mutating func descriptors(ofTable files: VirtualAddress) throws(MemoryFault) -> [ListedDescriptor] {
        let layout = kernel.layout.files
        let reader = kernel.reader
        let table = try reader.pointer(layout.table.current, of: files)
        let limit = Int(try reader.uint32(layout.table.limit, of: table))
        guard limit <= FileReader.descriptorLimit else {
            throw MemoryFault(.damaged("table of \(limit) descriptors"), at: table)
        }
        let slots = try reader.pointer(layout.table.files, of: table)
        let open = try reader.pointer(layout.table.open, of: table)
        var result: [ListedDescriptor] = []
        for first in stride(from: 0, to: limit, by: 64) {
            var occupied = try reader.memory.unsigned(at: open + first / 8, size: 8)
            while occupied != 0 {
                let number = first + occupied.trailingZeroBitCount
                occupied &= occupied - 1
                let file = try reader.memory.pointer(at: slots + number * 8)
                // Reserved, and not yet given a file.
                if file.isNull { continue }
                result.append(
                    ListedDescriptor(
                        number: Int32(number), flags: try reader.uint32(layout.file.flags, of: file),
                        position: try reader.value(layout.file.position, of: file), what: try name(ofFile: file)))
            }
        }
        return result
    }

    /// What /proc calls an open file.
    private mutating func name(ofFile file: VirtualAddress) throws(MemoryFault) -> String {
        let layout = kernel.layout.files
        let reader = kernel.reader
        let path = file + layout.file.path.offset
        let place = Place(
            mount: try reader.pointer(layout.paths.pathMount, of: path),
            dentry: try reader.pointer(layout.paths.pathDentry, of: path))
        if let known = paths[place] { return known }
        let name =
            try reader.isPlaceless(mount: place.mount, dentry: place.dentry, layout: layout.paths)
            ? try placelessName(ofFile: file, dentry: place.dentry) : try pathText(of: place)
        paths[place] = name
        return name
    }

    private func pathText(of place: Place) throws(MemoryFault) -> String {
        let path = try kernel.reader.path(mount: place.mount, dentry: place.dentry, layout: kernel.layout.files.paths)
        return String(decoding: path.bytes, as: UTF8.self) + (path.isDeleted ? " (deleted)" : "")
    }

    /// As `d_dname` of the filesystem makes it: `pipe:[INODE]`, `socket:[INODE]`, `anon_inode:NAME`, `/memfd:NAME (deleted)`.
    private func placelessName(ofFile file: VirtualAddress, dentry: VirtualAddress) throws(MemoryFault) -> String {
        let layout = kernel.layout.files
        let inode = try kernel.reader.pointer(layout.file.inode, of: file)
        func number() throws(MemoryFault) -> UInt64 { try kernel.reader.value(layout.inode.number, of: inode) }
        switch try kernel.reader.value(layout.inode.mode, of: inode) & 0o170000 {
        case 0o010000: return "pipe:[\(try number())]"
        case 0o140000: return "socket:[\(try number())]"
        default:
            let name = String(decoding: try kernel.reader.name(of: dentry, layout: layout.paths), as: UTF8.self)
            let kind = operations.kind(at: try kernel.reader.pointer(layout.file.operations, of: file))
            return kind == .sharedMemory ? "/\(name) (deleted)" : "anon_inode:\(name)"
        }
    }
}
