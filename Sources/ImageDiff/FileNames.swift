import Checkpoint

/// The files of a checkpoint, by the process and descriptor that lead to them: the numbers in the images are the makers' own.
struct FileNames {
    private let directory: ImageDirectory
    private var entries: [UInt64: ProtobufFields] = [:]
    /// The entries of regular files and nodes. A fifo's or terminal's node can have the same number as the fifo or terminal itself.
    private var nodes: [UInt64: ProtobufFields] = [:]
    private var names: [UInt64: String] = [:]
    private var order: [UInt64] = []
    /// `fdinfo_entry` messages of each process.
    private var tables: [UInt64: [ProtobufFields]] = [:]
    /// Shared memory of memfds, by its number in the images.
    private(set) var memfds: [UInt64: String] = [:]
    private var memfdInodes: [UInt64: ProtobufFields] = [:]
    private var terminals: [UInt64: FlatFields] = [:]
    private var removed: [UInt64: FlatFields] = [:]
    private var queues: [UInt64: [ImageContents.Entry]] = [:]
    private var pipeNames: [UInt64: String] = [:]

    /// - Parameter tables: the number of each process's descriptor table.
    init(_ directory: ImageDirectory, tables: [UInt64: UInt64]) throws(ImageDiffError) {
        self.directory = directory
        for entry in try directory.entries("files", .files) {
            let id = entry.message.number(2) ?? 0
            let isNode = entry.message.number(1) == Self.regularFile
            if isNode { nodes[id] = entry.message }
            if !isNode || entries[id] == nil { entries[id] = entry.message }
        }
        for (pid, table) in tables.sorted(by: { $0.key < $1.key }) {
            let descriptors = try directory.entries("fdinfo-\(table)", .descriptors).map(\.message)
            self.tables[pid] = descriptors
            for descriptor in descriptors.sorted(by: { ($0.number(4) ?? 0) < ($1.number(4) ?? 0) }) {
                give(descriptor.number(1), "\(pid)/\(descriptor.number(4) ?? 0)")
            }
        }
        try readQueues()
        try readTerminals()
        try readRemoved()
        try readMemory()
    }

    /// REG of `enum fd_types` (images/fdinfo.proto of CRIU).
    private static let regularFile: UInt64 = 1

    private mutating func give(_ id: UInt64?, _ name: String) {
        guard let id, names[id] == nil else { return }
        names[id] = name
        order.append(id)
    }

    /// A file that only a message in a socket's queue holds is named by that message.
    private mutating func readQueues() throws(ImageDiffError) {
        for entry in try directory.entries("sk-queues", .socketQueues) {
            queues[entry.message.number(1) ?? 0, default: []].append(entry)
        }
        var next = 0
        while next < order.count {
            let receiver = order[next]
            for (index, entry) in (queues[receiver] ?? []).enumerated() {
                for (place, file) in try Self.rights(entry).enumerated() {
                    give(file, "\(name(of: receiver)) message \(index) file \(place)")
                }
            }
            next += 1
        }
    }

    private static func rights(_ entry: ImageContents.Entry) throws(ImageDiffError) -> [UInt64] {
        do { return try entry.message.messages(4).flatMap { $0.numbers(2) } } catch {
            throw ImageDiffError("sk-queues.img: \(error)")
        }
    }

    private mutating func readTerminals() throws(ImageDiffError) {
        for entry in try directory.entries("tty-info", .terminalInformation) {
            terminals[entry.message.number(1) ?? 0] = try MessageSchema.terminalInformation.flatten(
                entry.message, prefix: "terminal.")
        }
        for entry in try directory.entries("tty-data", .terminalData) {
            let id = entry.message.number(1) ?? 0
            let bytes = entry.message.data(2) ?? []
            if !bytes.isEmpty { terminals[id, default: [:]]["terminal.data"] = contents(bytes) }
        }
    }

    private mutating func readRemoved() throws(ImageDiffError) {
        for remap in try directory.entries("remap-fpath", .fileRemaps).map(\.message) {
            var fields = ["removed.type": "\(remap.number(3) ?? 0)"]
            let name = "ghost-file-" + String(remap.number(2) ?? 0, radix: 16)
            if let ghost = try directory.image(name, .ghostFile)?.entries.first {
                fields.merge(try MessageSchema.ghostFile.flatten(ghost.message, prefix: "removed.")) { first, _ in first }
                fields["removed.chunks"] = nil
                fields["removed.contents"] = try Self.ghostContents(ghost)
            }
            removed[remap.number(1) ?? 0] = fields
        }
    }

    /// The bytes that are not zero, however they were cut into chunks.
    private static func ghostContents(_ ghost: ImageContents.Entry) throws(ImageDiffError) -> String {
        guard ghost.message.number(9) == 1 else { return contents(ghost.payload) }
        var bytes: [UInt8] = []
        var position = 0
        let payload = ghost.payload
        while payload.count - position >= 4 {
            let size = (0..<4).reduce(0) { $0 | Int(payload[position + $1]) << (8 * $1) }
            position += 4
            guard size <= payload.count - position,
                let chunk = try? ProtobufFields(parsing: Array(payload[position..<position + size])),
                let length = chunk.number(1).flatMap({ Int(exactly: $0) }), let offset = chunk.number(2),
                length <= payload.count - position - size, offset < 64 << 20
            else { throw ImageDiffError("ghost-file: a chunk goes beyond the end, or beyond the 64 MiB that are compared") }
            position += size
            let end = Int(offset) + length
            if bytes.count < end { bytes += Array(repeating: 0, count: end - bytes.count) }
            bytes.replaceSubrange(Int(offset)..<end, with: payload[position..<position + length])
            position += length
        }
        while bytes.last == 0 { bytes.removeLast() }
        return contents(bytes)
    }

    private mutating func readMemory() throws(ImageDiffError) {
        for entry in try directory.entries("memfd", .memfdInodes) { memfdInodes[entry.message.number(7) ?? 0] = entry.message }
        for id in order {
            guard let memfd = try message(id, 20), let inode = memfdInodes[memfd.number(5) ?? 0], let memory = inode.number(5)
            else { continue }
            if memfds[memory] == nil { memfds[memory] = "of file \(name(of: id))" }
        }
    }

    private func message(_ id: UInt64, _ field: UInt32) throws(ImageDiffError) -> ProtobufFields? {
        do { return try entries[id]?.message(field) } catch { throw ImageDiffError("files.img: \(error)") }
    }

    func name(of id: UInt64?) -> String { id.flatMap { names[$0] } ?? "none" }

    func descriptors(of pid: UInt64) -> [ProtobufFields] { tables[pid] ?? [] }

    /// What is known of a file that is mapped or worked in.
    func regular(_ id: UInt64?, prefix: String) throws(ImageDiffError) -> FlatFields {
        guard let id, let entry = entries[id] else { return [prefix + "name": "none"] }
        if nodes[id] != nil { return try node(id, prefix: prefix) }
        var fields = try own(id, entry).reduce(into: [:]) { $0[prefix + $1.key] = $1.value }
        for (key, value) in removed[id] ?? [:] { fields[prefix + key] = value }
        return fields
    }

    private func node(_ id: UInt64, prefix: String) throws(ImageDiffError) -> FlatFields {
        let regular: ProtobufFields?
        do { regular = try nodes[id]?.message(3) } catch { throw ImageDiffError("files.img: \(error)") }
        guard let regular else { return [prefix + "name": "none"] }
        var fields = try MessageSchema.regularFile.flatten(regular, prefix: prefix)
        fields[prefix + "id"] = nil
        for (key, value) in removed[id] ?? [:] { fields[prefix + key] = value }
        return fields
    }

    /// All files that something leads to but mappings and directories, by name.
    func all() throws(ImageDiffError) -> [(name: String, fields: FlatFields)] {
        var result: [(String, FlatFields)] = []
        for id in order {
            guard let entry = entries[id] else {
                throw ImageDiffError("files.img: there is no file \(id), which a descriptor leads to")
            }
            result.append((name(of: id), try own(id, entry)))
        }
        return result
    }

    private func own(_ id: UInt64, _ entry: ProtobufFields) throws(ImageDiffError) -> FlatFields {
        var fields = try MessageSchema.file.flatten(entry)
        fields["id"] = nil
        for kind in [
            "reg", "isk", "nlsk", "efd", "epfd", "sgfd", "tfd", "ify", "ffy", "psk", "usk", "fifo", "pipe", "tty", "memfd",
        ] {
            fields["\(kind).id"] = nil
        }
        // Of watches and marks, which is that of their file or, as CRIU writes it, 0.
        for list in ["ify.wd", "ffy.mark"] {
            for index in 0... {
                guard fields.removeValue(forKey: "\(list)[\(index)].id") != nil else { break }
            }
        }
        fields.merge(removed[id] ?? [:]) { first, _ in first }
        // TCP_LISTEN: of others CRIU notes the bytes that wait there (idiag_wqueue), and nobody reads it.
        if fields["isk.state"] != "10" { fields["isk.backlog"] = nil }
        if let pipe = try pipe(id) {
            let kind = fields["pipe.pipe_id"] == nil ? "fifo" : "pipe"
            fields["\(kind).pipe_id"] = "of file \(firstFile(ofPipe: pipe.number(2) ?? 0))"
        }
        if let fifo = try message(id, 17), let node = fifo.number(3) {
            fields["fifo.regf_id"] = nil
            fields.merge(try self.node(node, prefix: "node.")) { first, _ in first }
        }
        if let terminal = try message(id, 19) {
            fields["tty.tty_info_id"] = nil
            fields["tty.regf_id"] = nil
            for (key, value) in terminals[terminal.number(2) ?? 0] ?? [:] where key != "terminal.id" { fields[key] = value }
            if let node = terminal.number(6) { fields.merge(try self.node(node, prefix: "node.")) { first, _ in first } }
        }
        if let memfd = try message(id, 20), let inode = memfdInodes[memfd.number(5) ?? 0] {
            fields["memfd.inode_id"] = nil
            for (key, value) in try MessageSchema.memfdInode.flatten(inode, prefix: "memory.") { fields[key] = value }
            fields["memory.inode_id"] = nil
            fields["memory.shmid"] = inode.number(5).flatMap { memfds[$0] }
        }
        if let epoll = try message(id, 9) { try name(targets: epoll, in: &fields) }
        for (index, message) in (queues[id] ?? []).enumerated() {
            fields["queue[\(index)]"] = contents(message.payload)
            for (place, file) in try Self.rights(message).enumerated() {
                fields["queue[\(index)].file[\(place)]"] = name(of: file)
            }
        }
        return fields
    }

    /// Registrations by the descriptor that was registered and not by their order, which is that of a tree or of a list.
    private func name(targets epoll: ProtobufFields, in fields: inout FlatFields) throws(ImageDiffError) {
        fields = fields.filter { !$0.key.hasPrefix("epfd.tfd[") }
        let targets: [ProtobufFields]
        do { targets = try epoll.messages(4) } catch { throw ImageDiffError("files.img: \(error)") }
        for target in targets {
            let key = "epfd.target \(target.number(2) ?? 0)"
            fields[key + ".events"] = "0x" + String(target.number(3) ?? 0, radix: 16)
            fields[key + ".data"] = "0x" + String(target.number(4) ?? 0, radix: 16)
            if let inode = target.number(6) { fields[key + ".inode"] = "\(inode)" }
        }
    }

    /// `pipe_entry` or `fifo_entry`, both of which have the pipe's number as their second field.
    private func pipe(_ id: UInt64) throws(ImageDiffError) -> ProtobufFields? {
        if let pipe = try message(id, 18) { return pipe }
        return try message(id, 17)
    }

    private func firstFile(ofPipe pipe: UInt64) -> String {
        for id in order {
            guard let entry = try? self.pipe(id), entry.number(2) == pipe else { continue }
            return name(of: id)
        }
        return "none"
    }

    /// What is in each pipe, by the first file that leads to it.
    func pipes() throws(ImageDiffError) -> [(name: String, fields: FlatFields)] {
        var result: [(String, FlatFields)] = []
        for (image, kind) in [("pipes-data", ImageKind.pipeData), ("fifo-data", .fifoData)] {
            for entry in try directory.entries(image, kind) {
                var fields = ["data": contents(entry.payload)]
                fields["size"] = entry.message.number(3).map(String.init)
                result.append(("of file \(firstFile(ofPipe: entry.message.number(1) ?? 0))", fields))
            }
        }
        return result
    }
}
