import Checkpoint

/// What the images of one group tell, by object: each field under its name, and in place of the numbers by which CRIU's makers tell objects apart
/// what these numbers mean.
struct CheckpointContents {
    private(set) var objects: [ImageObject: FlatFields] = [:]
    /// Own pages of processes.
    private(set) var pages: [UInt64: PageMap] = [:]
    /// Pages of shared memory, by its name.
    private(set) var sharedPages: [String: PageMap] = [:]

    private let directory: ImageDirectory
    private var files: FileNames
    private var cgroups: [UInt64: String] = [:]
    /// Kernel objects of each process (`task_kobj_ids_entry`).
    private var identifiers: [UInt64: ProtobufFields] = [:]
    private var filters: [ProtobufFields] = []

    /// Names of what `task_kobj_ids_entry` counts.
    private static let shared: [(field: UInt32, name: String)] = [
        (1, "memory"), (2, "descriptors"), (3, "filesystem"), (4, "signal actions"),
    ]
    private static let namespaces: [(field: UInt32, name: String)] = [
        (5, "pid"), (6, "net"), (7, "ipc"), (8, "uts"), (9, "mnt"), (10, "user"), (11, "cgroup"), (12, "time"),
    ]

    init(_ path: String) throws(ImageDiffError) {
        directory = try ImageDirectory(path)
        let tree = try directory.entries("pstree", .processTree).map(\.message)
        let pids = tree.compactMap { $0.number(1) }
        for pid in pids {
            guard let ids = try directory.image("ids-\(pid)", .identifiers)?.entries.first else { continue }
            identifiers[pid] = ids.message
        }
        files = try FileNames(directory, tables: identifiers.compactMapValues { $0.number(2) })
        try addCheckpoint()
        try addCgroups()
        if let seccomp = try directory.entries("seccomp", .seccomp).first?.message {
            filters = try Self.decode { try seccomp.messages(1) }
        }
        for process in tree { try addProcess(process) }
        try addDescriptors(pids)
        try addFiles()
        try addMemory(pids)
        try addConnections()
        try addLocks()
        addUnknownImages()
    }

    private static func decode<Result>(_ body: () throws -> Result) throws(ImageDiffError) -> Result {
        do { return try body() } catch let error as ImageDiffError { throw error } catch {
            throw ImageDiffError("damaged image: \(error)")
        }
    }

    private mutating func addCheckpoint() throws(ImageDiffError) {
        var fields = try MessageSchema.inventory.flatten(try directory.single("inventory", .inventory))
        // The ids of the root mean nothing but what those of the processes are compared with.
        fields = fields.filter { !$0.key.hasPrefix("field 3[") && $0.key != "root_cg_set" }
        if let clocks = try directory.entries("timens-0", .timeNamespace).first {
            fields.merge(try MessageSchema.timeNamespace.flatten(clocks.message, prefix: "clocks.")) { first, _ in first }
        }
        objects[ImageObject(kind: .checkpoint)] = fields
    }

    /// The paths of each set, and the directories that CRIU would make.
    private mutating func addCgroups() throws(ImageDiffError) {
        guard let entry = try directory.entries("cgroup", .cgroups).first?.message else { return }
        let directories = try Self.decode {
            for set in try entry.messages(1) {
                let members = try set.messages(2).map { "\(Self.text($0, 1)):\(Self.text($0, 2))" }
                cgroups[set.number(1) ?? 0] = members.sorted().joined(separator: " ")
            }
            var found: [String] = []
            for controller in try entry.messages(2) {
                for child in try controller.messages(2) { try Self.addDirectory(child, "", depth: 0, to: &found) }
            }
            return found
        }
        for path in directories { objects[ImageObject(kind: .checkpoint), default: [:]]["cgroup directory \(path)"] = "there" }
    }

    private static func addDirectory(_ entry: ProtobufFields, _ path: String, depth: Int, to found: inout [String]) throws {
        guard depth < 64 else { throw ImageDiffError("cgroup.img: directories nested too deep") }
        let own = "\(path)/\(text(entry, 1))"
        found.append(own)
        for child in try entry.messages(2) { try addDirectory(child, own, depth: depth + 1, to: &found) }
    }

    static func text(_ message: ProtobufFields, _ field: UInt32) -> String { MessageSchema.visible(message.data(field) ?? []) }

    private mutating func addProcess(_ entry: ProtobufFields) throws(ImageDiffError) {
        guard let pid = entry.number(1) else { throw ImageDiffError("\(directory.path)/pstree.img: a process without a pid") }
        let object = ImageObject(kind: .process, process: pid)
        guard objects[object] == nil else {
            throw ImageDiffError("\(directory.path)/pstree.img: process \(pid) is there twice")
        }
        var fields = try MessageSchema.processTree.flatten(entry)
        fields = fields.filter { !$0.key.hasPrefix("threads[") }
        // A single thread is the leader. CRIU 3.17 leaves another number there for a zombie, whose threads it never looked at.
        let threads = entry.numbers(5).count == 1 ? [pid] : entry.numbers(5).sorted()
        fields["threads"] = threads.map(String.init).joined(separator: " ")
        for thread in threads { try addThread(thread, of: pid, to: &fields) }
        addIdentifiers(of: pid, to: &fields)
        if let context = try directory.image("fs-\(pid)", .filesystem)?.entries.first?.message {
            fields["umask"] = context.number(3).map { "0" + String($0, radix: 8) }
            for (field, name) in [(UInt32(1), "cwd."), (2, "root.")] {
                fields.merge(try files.regular(context.number(field), prefix: name)) { first, _ in first }
            }
        }
        objects[object] = fields
    }

    private mutating func addThread(_ thread: UInt64, of pid: UInt64, to process: inout FlatFields) throws(ImageDiffError) {
        let core = try MessageSchema.core.flatten(try directory.single("core-\(thread)", .core))
        var own: FlatFields = [:]
        for (key, value) in core {
            // ids are in an image of their own too.
            if key.hasPrefix("field 4[") { continue }
            if key.hasPrefix("tc.") { process[String(key.dropFirst(3))] = value } else { own[key] = value }
        }
        if thread == pid {
            process["cg_set"] = process["cg_set"].flatMap { UInt64($0) }.map { cgroups[$0] ?? "none" }
        }
        if let first = own["thread_core.seccomp_filter"].flatMap({ UInt64($0) }) {
            own["thread_core.seccomp_filter"] = chain(from: first)
        }
        // A zombie has no threads, only an end.
        if own.keys.contains(where: { $0.hasPrefix("thread_") }) {
            objects[ImageObject(kind: .thread, process: pid, number: thread)] = own
        }
    }

    /// The programs of a chain of seccomp filters.
    private func chain(from first: UInt64) -> String {
        var texts: [String] = []
        var next: UInt64? = first
        while let index = next.flatMap({ Int(exactly: $0) }), filters.indices.contains(index), texts.count <= filters.count {
            let filter = filters[index]
            texts.append(MessageSchema.hexadecimal(filter.data(1) ?? []) + " flags \(filter.number(3) ?? 0)")
            next = filter.number(2)
        }
        return texts.joined(separator: ", ")
    }

    private func addIdentifiers(of pid: UInt64, to fields: inout FlatFields) {
        guard let ids = identifiers[pid] else { return }
        for (field, name) in Self.shared {
            let sharers = identifiers.filter { $0.value.number(field) == ids.number(field) }.map(\.key)
            fields["\(name) is that of"] = "process \(sharers.min() ?? pid)"
        }
        let root = try? directory.single("inventory", .inventory).message(3)
        for (field, name) in Self.namespaces {
            guard let id = ids.number(field) else { continue }
            fields["\(name) namespace"] = id == root?.number(field) ? "of the system" : "of its own"
        }
    }

    private mutating func addDescriptors(_ pids: [UInt64]) throws(ImageDiffError) {
        for pid in pids {
            for descriptor in files.descriptors(of: pid) {
                var fields = try MessageSchema.descriptor.flatten(descriptor)
                fields["id"] = nil
                fields["file"] = files.name(of: descriptor.number(1))
                objects[ImageObject(kind: .descriptor, process: pid, number: descriptor.number(4) ?? 0)] = fields
            }
        }
    }

    private mutating func addFiles() throws(ImageDiffError) {
        for (name, fields) in try files.all() { objects[ImageObject(kind: .file, name: name)] = fields }
        for (name, fields) in try files.pipes() { objects[ImageObject(kind: .pipe, name: name)] = fields }
    }

    private mutating func addMemory(_ pids: [UInt64]) throws(ImageDiffError) {
        var sharedMemory: [UInt64: String] = [:]
        for (id, name) in files.memfds { sharedMemory[id] = name }
        for pid in pids {
            guard let memory = try directory.image("mm-\(pid)", .memory)?.entries.first?.message else { continue }
            let object = ImageObject(kind: .process, process: pid)
            var fields = try MessageSchema.memory.flatten(memory).filter { !$0.key.hasPrefix("field 14[") }
            fields["exe_file_id"] = nil
            fields.merge(try files.regular(memory.number(12), prefix: "exe.")) { first, _ in first }
            objects[object, default: [:]].merge(fields) { first, _ in first }
            let areas = try Self.decode { try memory.messages(14) }
            for area in areas { try add(area, of: pid, &sharedMemory) }
            pages[pid] = try PageMap("pagemap-\(pid)", in: directory)
        }
        for (id, name) in sharedMemory {
            sharedPages[name] = try PageMap("pagemap-shmem-\(id)", in: directory)
        }
    }

    private mutating func add(_ area: ProtobufFields, of pid: UInt64, _ sharedMemory: inout [UInt64: String])
        throws(ImageDiffError)
    {
        let start = area.number(1) ?? 0
        var fields = try MessageSchema.area.flatten(area)
        let id = area.number(4) ?? 0
        let status = area.number(7) ?? 0
        fields["shmid"] = nil
        // VMA_ANON_SHARED; VMA_FILE_PRIVATE and VMA_FILE_SHARED.
        if status & 1 << 8 != 0 {
            let name = sharedMemory[id] ?? "of area \(pid) 0x\(String(start, radix: 16))"
            sharedMemory[id] = name
            fields["memory"] = name
        } else if status & (3 << 6) != 0 {
            fields.merge(try files.regular(id, prefix: "file.")) { first, _ in first }
        }
        objects[ImageObject(kind: .area, process: pid, number: start)] = fields
    }

    private mutating func addConnections() throws(ImageDiffError) {
        for suffix in directory.suffixes(of: "tcp-stream") {
            guard let entry = try directory.entries("tcp-stream-\(suffix)", .tcpStream).first else { continue }
            var fields = try MessageSchema.tcpStream.flatten(entry.message)
            fields["queues"] = contents(entry.payload)
            objects[ImageObject(kind: .connection, number: UInt64(suffix, radix: 16) ?? 0)] = fields
        }
    }

    private mutating func addLocks() throws(ImageDiffError) {
        for entry in try directory.entries("filelocks", .fileLocks) {
            let fields = try MessageSchema.fileLock.flatten(entry.message)
            let name = ["pid", "fd", "flag", "start"].map { fields[$0] ?? "-" }.joined(separator: "/")
            objects[ImageObject(kind: .lock, name: name)] = fields
        }
    }

    /// Images that nothing here looks at: each of them is a difference until somebody says why it may be.
    private mutating func addUnknownImages() {
        let whole: Set<String> = [
            "inventory", "pstree", "files", "seccomp", "cgroup", "timens-0", "filelocks", "remap-fpath", "tty-info", "tty-data",
            "pipes-data", "fifo-data", "sk-queues", "memfd",
        ]
        let numbered = ["core", "ids", "mm", "fs", "fdinfo", "pagemap", "pages", "ghost-file", "tcp-stream"]
        for name in directory.names where !whole.contains(name) && !numbered.contains(where: { name.hasPrefix($0 + "-") }) {
            objects[ImageObject(kind: .image, name: name)] = ["present": "yes"]
        }
    }
}

/// Bytes in a difference: their number, and themselves when they are few.
func contents(_ bytes: [UInt8]) -> String {
    let crc = String(CRC32.of(bytes), radix: 16)
    return bytes.count <= 64 ? "\(bytes.count) bytes: \(MessageSchema.visible(bytes))" : "\(bytes.count) bytes, CRC-32 \(crc)"
}
