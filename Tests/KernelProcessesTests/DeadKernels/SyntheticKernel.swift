import GuestMemory
import KernelTypes
import ProcessModel
import SyntheticMemory

@testable import KernelObjects
@testable import KernelProcesses

/// A dead kernel of one task, of a root directory and of functions that a test names.
final class SyntheticKernel {
    let memory = SyntheticMemory()
    let types: TypeTable
    let layout: KernelLayout
    /// Functions, 256 bytes each, and variables.
    private var symbols: [String: VirtualAddress] = [:]
    private var ends: [String: VirtualAddress] = [:]
    private var nextFunction = VirtualAddress(0xffff_ffff_8100_0000)
    private var nextObject = VirtualAddress(0xffff_8880_0100_0000)
    /// What its unwind entries call the stack pointer: 5, or as in 7.2 3.
    var stackRegister: UInt64 = 5
    private(set) var task = TaskAddress.null
    private(set) var credentials = VirtualAddress.null
    private(set) var root = VirtualAddress.null
    private var children: [VirtualAddress: [VirtualAddress]] = [:]

    /// What every call comes through.
    static let entry = "entry_SYSCALL_64_after_hwframe"
    static let userMemory = VirtualAddress(0x10_0000)
    private static let stackSize = 16_384

    init() throws {
        (types, layout) = try SyntheticLayout.kernel.get()
        symbols["_stext"] = nextFunction
        symbols["_etext"] = nextFunction + (1 << 20)
        // Its own page tables and those of the program are the same.
        let tables = VirtualAddress(0xffff_8880_00ff_0000)
        memory.map(tables, to: FrameNumber(1))
        task = addTask(pid: 100)
        let mm = object()
        set(layout.memory.pgd, of: mm, to: tables.rawValue)
        set(layout.task.mm, of: task, to: mm.rawValue)
        root = dentry("/", in: nil, inode: inode(mode: 0o040755))
        let context = object()
        for field in [layout.files.filesystemContext.root, layout.files.filesystemContext.workingDirectory] {
            set(layout.files.paths.pathDentry, of: context + field.offset, to: root.rawValue)
        }
        set(layout.task.fs, of: task, to: context.rawValue)
        memory.place(Array(repeating: 0, count: 1024), at: Self.userMemory)
    }

    // MARK: Objects

    /// Memory of zeros.
    func object(bytes: Int = 8192) -> VirtualAddress {
        defer { nextObject = nextObject + (bytes + 4095) / 4096 * 4096 }
        memory.place(Array(repeating: 0, count: bytes / 8), at: nextObject)
        return nextObject
    }

    func set(_ field: Field, of object: VirtualAddress, to value: UInt64) { memory.place([value], at: object + field.offset) }

    /// A task that is switched out in user mode, a process of its own.
    func addTask(pid: UInt64, parent: TaskAddress? = nil) -> TaskAddress {
        let task = object()
        let stack = object(bytes: Self.stackSize)
        let credentials = object()
        set(layout.credentials.groupInfo, of: credentials, to: object().rawValue)
        if self.task.isNull { self.credentials = credentials }
        set(layout.task.stack, of: task, to: stack.rawValue)
        set(layout.task.pid, of: task, to: pid)
        set(layout.task.tgid, of: task, to: pid)
        set(layout.task.credentials, of: task, to: credentials.rawValue)
        if let field = layout.taskChecks.realCredentials { set(field, of: task, to: credentials.rawValue) }
        set(layout.task.signal, of: task, to: object().rawValue)
        set(layout.task.realParent, of: task, to: (parent ?? task).rawValue)
        let number = object()
        set(layout.signal.pidNumber, of: number + layout.signal.pidNumbers.offset, to: pid)
        set(layout.task.threadPID, of: task, to: number.rawValue)
        set(layout.task.stackPointer, of: task, to: (userRegisters(of: task, stack: stack) - 16).rawValue)
        return task
    }

    private func userRegisters(of task: TaskAddress, stack: VirtualAddress) -> VirtualAddress {
        stack + Self.stackSize - layout.registers.padding - layout.registers.size
    }

    func inode(mode: UInt64, links: UInt64 = 1, uid: UInt64 = 0) -> VirtualAddress {
        let inode = object()
        set(layout.files.inode.mode, of: inode, to: mode)
        set(layout.files.inode.links, of: inode, to: links)
        set(layout.files.inode.uid, of: inode, to: uid)
        return inode
    }

    /// A name that the kernel remembers, of something or, without an inode, of nothing.
    @discardableResult
    func dentry(_ name: String, in parent: VirtualAddress?, inode: VirtualAddress?, isHashed: Bool = true) -> VirtualAddress {
        let paths = layout.files.paths
        let dentry = object()
        let bytes = Array(name.utf8)
        let text = object()
        memory.place(
            stride(from: 0, to: bytes.count, by: 8).map { start in
                bytes[start..<min(start + 8, bytes.count)].reversed().reduce(0) { $0 << 8 | UInt64($1) }
            }, at: text)
        set(paths.dentryName, of: dentry, to: text.rawValue)
        set(paths.dentryNameLength, of: dentry, to: UInt64(bytes.count))
        set(paths.dentryParent, of: dentry, to: (parent ?? dentry).rawValue)
        set(paths.dentryInode, of: dentry, to: inode?.rawValue ?? 0)
        set(paths.dentryHashBackLink, of: dentry, to: isHashed ? 1 : 0)
        children[dentry] = []
        relink(dentry)
        if let parent {
            children[parent, default: []].append(dentry)
            relink(parent)
        }
        return dentry
    }

    /// Writes the list of a directory's names (`struct list_head`, as before 6.8).
    private func relink(_ directory: VirtualAddress) {
        let fields = layout.files.catchUp
        let head = directory + fields.children.offset
        let nodes = [head] + (children[directory] ?? []).map { $0 + fields.childLink.offset }
        for (index, node) in nodes.enumerated() {
            let next = nodes[(index + 1) % nodes.count]
            let previous = nodes[(index + nodes.count - 1) % nodes.count]
            memory.place([next.rawValue, previous.rawValue], at: node)
        }
    }

    /// Gives the task's process a table of descriptors.
    func setDescriptors(_ files: [VirtualAddress?]) {
        let fields = layout.files.table
        let (process, table, array) = (object(), object(), object())
        memory.place(files.map { $0?.rawValue ?? 0 }, at: array)
        set(fields.current, of: process, to: table.rawValue)
        set(fields.limit, of: table, to: UInt64(files.count))
        set(fields.files, of: table, to: array.rawValue)
        set(layout.task.files, of: task, to: process.rawValue)
    }

    /// A string in the program's memory.
    func setUserText(_ text: String, at offset: Int) -> UInt64 {
        let bytes = Array(text.utf8) + [0]
        let words = stride(from: 0, to: bytes.count, by: 8).map { start in
            bytes[start..<min(start + 8, bytes.count)].reversed().reduce(0) { $0 << 8 | UInt64($1) }
        }
        memory.place(words, at: Self.userMemory + offset)
        return (Self.userMemory + offset).rawValue
    }

    // MARK: Functions

    /// An instruction of a function, which is there from now on.
    func instruction(of function: String) -> UInt64 {
        if symbols[function] == nil {
            symbols[function] = nextFunction
            nextFunction = nextFunction + 256
            ends[function] = nextFunction
        }
        return ((symbols[function] ?? .null) + 16).rawValue
    }

    /// Puts the task's call where it has gone through functions, the innermost first, with words on the stack that these have left unused.
    func setCall(_ functions: [String], leftovers: [UInt64] = []) {
        let words = (functions + [Self.entry]).map { instruction(of: $0) }
        var frames: [UInt64] = [0]
        var rest = leftovers[...]
        for (index, word) in words.enumerated() {
            // What lies below a return address: three words of the function that is called; and the frame pointer of the task that is switched out.
            if index > 0 { for _ in 0..<3 { frames.append(rest.popFirst() ?? 0) } }
            frames.append(word)
        }
        let stack = VirtualAddress((try? reader.value(layout.task.stack, of: task)) ?? 0)
        let bottom = userRegisters(of: task, stack: stack) - frames.count * 8
        memory.place(frames, at: bottom)
        set(layout.task.stackPointer, of: task, to: bottom.rawValue)
        writeUnwindTable()
    }

    /// Every function has a frame of three words below its return address, but for the first instruction of `schedule`, and the entry has the user registers (ORC_TYPE_CALL and ORC_TYPE_REGS of 6.4).
    private func writeUnwindTable() {
        guard let layout = layout.unwinding else { return }
        _ = instruction(of: "schedule")
        let (places, entries) = (VirtualAddress(0xffff_ffff_8200_0000), VirtualAddress(0xffff_ffff_8210_0000))
        let functions = ends.keys.sorted { (symbols[$0] ?? .null) < (symbols[$1] ?? .null) }
        var distances: [UInt64] = []
        for (index, function) in functions.enumerated() {
            let distance = UInt32(truncatingIfNeeded: (symbols[function] ?? .null).rawValue &- (places + index * 4).rawValue)
            if index % 2 == 0 { distances.append(UInt64(distance)) } else { distances[index / 2] |= UInt64(distance) << 32 }
            let entry = entries + index * layout.size
            memory.place(Array(repeating: 0, count: layout.size / 8), at: entry)
            set(layout.stackRegister, of: entry, to: stackRegister)
            set(layout.stackOffset, of: entry, to: function == Self.entry ? 0 : function == "schedule" ? 8 : 32)
            set(layout.type, of: entry, to: function == Self.entry ? 3 : 2)
        }
        memory.place(distances, at: places)
        symbols["__start_orc_unwind_ip"] = places
        symbols["__stop_orc_unwind_ip"] = places + functions.count * 4
        symbols["__start_orc_unwind"] = entries
    }

    // MARK: The dead kernel

    private var reader: KernelReader {
        KernelReader(memory: VirtualMemory(source: memory, tables: memory.tables), symbols: SymbolTable(addresses: [:]))
    }

    /// The kernel as it is now.
    var dead: DeadKernel {
        let manifest = KernelManifest(
            info: VMCoreInfo(text: []), tables: memory.tables, symbols: SymbolTable(addresses: symbols, ends: ends),
            types: types)
        return DeadKernel(source: memory, manifest: manifest, layout: layout, cpus: [])
    }
}
