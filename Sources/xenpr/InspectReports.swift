import KernelProcesses
import ProcessModel

/// `inspect SOURCE kernel`.
struct KernelReport: InspectReport {
    let schema = "xenpr.kernel/1"
    let release: String
    let pageTableRoot: String
    let pageTableLevels: Int
    let monotonicSeconds: Double?
    let boottimeSeconds: Double?
    let realtimeSeconds: Double?
    let vcpuContexts: Int
    let symbols: [String: String]

    init(_ kernel: DeadKernel) {
        release = kernel.manifest.info.release
        pageTableRoot = hex(kernel.manifest.tables.root.rawValue)
        pageTableLevels = kernel.manifest.tables.levels
        let clocks = try? kernel.clocks()
        monotonicSeconds = clocks.map { Double($0.monotonicNanoseconds) / 1e9 }
        boottimeSeconds = clocks.map { Double($0.boottimeNanoseconds) / 1e9 }
        realtimeSeconds = clocks.map { Double($0.realtimeNanoseconds) / 1e9 }
        vcpuContexts = kernel.vcpuCount
        symbols = kernel.manifest.symbols.addresses.mapValues { hex($0.rawValue) }
    }

    var table: Table {
        var table = Table("PROPERTY", "VALUE")
        table.add("release", release)
        table.add("page tables", "\(pageTableRoot), \(pageTableLevels) levels")
        table.add("up", monotonicSeconds.map { "\(fixed($0, 3)) s" } ?? "unknown")
        table.add("wall time", realtimeSeconds.map { "\(fixed($0, 3)) s since 1970" } ?? "unknown")
        table.add("vCPU contexts", "\(vcpuContexts)")
        return table
    }
}

/// `inspect SOURCE ps`.
struct ProcessListReport: InspectReport {
    struct Entry: Encodable {
        let pid: Int32
        let ppid: Int32
        let state: String
        let threads: Int
        let group: String?
        let command: String
    }

    let schema = "xenpr.processes/1"
    let processes: [Entry]

    init(_ kernel: DeadKernel) {
        processes = kernel.processList().map {
            Entry(
                pid: $0.pid, ppid: $0.parentPID, state: $0.state, threads: $0.threads, group: $0.group, command: $0.command)
        }
    }

    var table: Table {
        var table = Table("PID", "PPID", "STATE", "THREADS", "GROUP", "COMMAND")
        for entry in processes {
            table.add("\(entry.pid)", "\(entry.ppid)", entry.state, "\(entry.threads)", entry.group ?? "-", entry.command)
        }
        return table
    }
}

/// `inspect SOURCE vm PID`.
struct MemoryReport: InspectReport {
    struct Entry: Encodable {
        let start: String
        let end: String
        let protection: String
        let offset: UInt64
        let residentPages: Int?
        let what: String
    }

    let schema = "xenpr.memory/1"
    let pid: Int32
    let areas: [Entry]

    init(_ read: ReadProcess) {
        pid = read.process.pid
        var pages = read.group.pages
        areas = (read.addressSpace?.mappings ?? []).map { mapping in
            Entry(
                start: hex(mapping.start.rawValue), end: hex(mapping.end.rawValue),
                protection: protectionText(mapping.protection),
                offset: mapping.offsetBytes, residentPages: try? pages.savedPages(of: mapping, in: read.process.addressSpace),
                what: Self.describe(mapping.kind, read.group.group))
        }
    }

    private static func describe(_ kind: Mapping.Kind, _ group: ProtectedGroup) -> String {
        func path(_ id: FileID) -> String {
            group.openFiles[id].map { $0.summary(pipes: group.pipes, sharedMemory: group.sharedMemory) } ?? "file \(id)"
        }
        return switch kind {
        case .anonymous: ""
        case .heap: "[heap]"
        case .stack: "[stack]"
        case .privateFile(let id): path(id)
        case .sharedFile(let id): "shared " + path(id)
        case .sharedAnonymous(let id): "shared memory \(id)"
        case .memfd(let id, _): path(id)
        case .systemVSharedMemory(_, let id, _, _): "System V shared memory \(id)"
        case .packetRing(let id, _): "packet ring, " + path(id)
        case .asynchronousIORing: "ring of asynchronous I/O"
        case .vdso: "[vdso]"
        case .vvar: "[vvar]"
        case .kernelGate: "[vsyscall]"
        case .unsupported(let what): what
        }
    }

    var table: Table {
        var table = Table("START", "END", "PROT", "OFFSET", "SAVED", "WHAT")
        for area in areas {
            table.add(
                area.start, area.end, area.protection, hex(area.offset), area.residentPages.map { "\($0)" } ?? "?", area.what)
        }
        return table
    }
}

/// `inspect SOURCE files PID`.
struct FilesReport: InspectReport {
    struct Entry: Encodable {
        let descriptor: Int32
        let flags: String
        let position: UInt64
        let file: UInt32
        let what: String
    }

    let schema = "xenpr.files/1"
    let pid: Int32
    let files: [Entry]

    init(_ read: ReadProcess) {
        pid = read.process.pid
        let group = read.group.group
        let table = read.process.descriptorTable.flatMap { group.descriptorTables[$0] }
        files = (table?.descriptors ?? []).map { descriptor in
            let file = group.openFiles[descriptor.file]
            return Entry(
                descriptor: descriptor.number, flags: "0" + String(file?.flags ?? 0, radix: 8), position: file?.position ?? 0,
                file: descriptor.file.rawValue,
                what: file.map { "\($0.kindName) " + $0.summary(pipes: group.pipes, sharedMemory: group.sharedMemory) }
                    ?? "unreadable")
        }
    }

    var table: Table {
        var table = Table("FD", "FLAGS", "POSITION", "ID", "WHAT")
        for file in files { table.add("\(file.descriptor)", file.flags, "\(file.position)", "\(file.file)", file.what) }
        return table
    }
}

/// `inspect SOURCE regs PID`.
struct RegistersReport: InspectReport {
    struct Entry: Encodable {
        let tid: Int32
        let command: String
        let registers: [String: String]
        /// How far the system call is that the thread is in, as far as it matters for making it again; nil: it is in none.
        let call: String?
        let components: [String: String]
    }

    let schema = "xenpr.registers/1"
    let pid: Int32
    let threads: [Entry]

    private static let names: [(String, any KeyPath<GeneralRegisters, UInt64> & Sendable)] = [
        ("ip", \.ip), ("sp", \.sp), ("flags", \.flags), ("orig_ax", \.origAX), ("ax", \.ax), ("bx", \.bx), ("cx", \.cx),
        ("dx", \.dx), ("si", \.si), ("di", \.di), ("bp", \.bp), ("r8", \.r8), ("r9", \.r9), ("r10", \.r10), ("r11", \.r11),
        ("r12", \.r12), ("r13", \.r13), ("r14", \.r14), ("r15", \.r15), ("cs", \.cs), ("ss", \.ss), ("fs_base", \.fsBase),
        ("gs_base", \.gsBase),
    ]

    init(_ read: ReadProcess) {
        pid = read.process.pid
        threads = read.process.threads.map { thread in
            var components: [String: String] = [:]
            if let state = thread.floatingPoint {
                components["legacy"] = Self.text(state.legacy)
                for (number, bytes) in state.components { components["\(number)"] = Self.text(bytes) }
            }
            return Entry(
                tid: thread.tid, command: "\(thread.command)",
                registers: Dictionary(
                    uniqueKeysWithValues: Self.names.map { ($0.0, hex(thread.registers[keyPath: $0.1])) }),
                call: Self.call(of: thread), components: components)
        }
    }

    private static func call(of thread: DeadThread) -> String? {
        guard thread.registers.origAX != .max else { return nil }
        let call = thread.interruptedCall
        var parts = ["\(call.stage)"]
        switch call.progress {
        case .pending: parts.append("nothing done")
        case .complete(let result): parts.append("done, result \(result)")
        case .fileCreated: parts.append("file created")
        case .uncertain: parts.append("may be done")
        case nil: break
        }
        if let moved = call.transferredBytes { parts.append("\(moved) bytes moved") }
        if let left = call.remainingNanoseconds { parts.append("\(left) ns left") }
        parts += call.filesInHand.map { "opens or closes inode \($0.inode)" }.sorted()
        return parts.joined(separator: ", ")
    }

    private static func text(_ bytes: [UInt8]) -> String {
        bytes.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined()
    }

    var table: Table {
        var table = Table("TID", "COMMAND", "REGISTER", "VALUE")
        for thread in threads {
            for name in Self.names { table.add("\(thread.tid)", thread.command, name.0, thread.registers[name.0] ?? "?") }
            if let call = thread.call { table.add("\(thread.tid)", thread.command, "call", call) }
            for component in thread.components.keys.sorted() {
                table.add(
                    "\(thread.tid)", thread.command, "xstate \(component)",
                    "\((thread.components[component]?.count ?? 0) / 2) bytes")
            }
        }
        return table
    }
}
