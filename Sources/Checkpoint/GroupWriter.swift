import GuestMemory
import ProcessModel

/// Writes the image files of one group that is not refused.
struct GroupWriter<Supply: PageSupply & ~Copyable> {
    private var plan: GroupPlan
    private let directory: OutputDirectory
    /// Runs of pages that are looked at together.
    private static var portion: Int { 4096 }
    private var nextPagesNumber: UInt32 = 1
    private(set) var bytes: UInt64 = 0
    private(set) var pages: UInt64 = 0
    /// Bytes of page contents by process.
    private(set) var memoryBytes: [Int32: UInt64] = [:]
    /// What turned out while writing.
    private(set) var obstacles: [Obstacle] = []

    init(_ plan: GroupPlan, into directory: OutputDirectory) {
        self.plan = plan
        self.directory = directory
    }

    mutating func write(pages supply: inout Supply) throws(CheckpointError) {
        // The cgroup namespace has to belong to the group's own user namespace, so CRIU makes it within that; else the agent does.
        let cgroups = CgroupImage(
            plan.tree.ordered, namespaceRoot: plan.users.namespace == nil ? nil : plan.namespaces.cgroupRoot)
        let seccomp = SeccompImage(plan.tree.ordered)
        if !seccomp.filters.isEmpty { try write(.seccomp, "seccomp", [seccomp.message]) }
        for process in plan.processes {
            try write(process, cgroupSet: cgroups.set(of: process.process), seccomp: seccomp, pages: &supply)
        }
        try writeDescriptorTables()
        try writePackets()
        try writeSharedMemory(pages: &supply)
        try writeQueues()
        try writeTerminals()
        try writeGhosts(pages: &supply)
        try write(.files, "files", plan.files.entries)
        try write(.processTree, "pstree", plan.tree.messages())
        try writeLocks()
        try write(.cgroups, "cgroup", [cgroups.message()])
        try write(.timeNamespace, "timens-0", [NamespaceImage.clocks(plan.group.clocks, in: plan.namespaces.time)])
        try writeNamespaces()
        try writeMounts(pages: &supply)
        try write(
            .inventory, "inventory",
            [
                ProtobufMessage { entry in
                    // CRTOOLS_IMAGES_V1_1
                    entry.unsigned(1, UInt32(2))
                    entry.flag(2, true)
                    entry.message(3, KernelObjectIDs.root)
                    entry.flag(4, true)
                    entry.unsigned(5, CgroupImage.rootSet)
                    entry.unsigned(6, UInt32(0))
                    // NETWORK_LOCK_NFTABLES: the agent makes the table that CRIU removes when all sockets are there.
                    entry.unsigned(11, UInt32(1))
                }
            ])
        try directory.finish()
    }

    private mutating func write(_ kind: ImageKind, _ name: String, _ messages: [ProtobufMessage]) throws(CheckpointError) {
        var image = try ImageWriter(kind, name: name, in: directory)
        for message in messages { try image.append(message) }
        bytes &+= try image.finish()
    }

    /// What CRIU gives to another program as it is.
    private mutating func writeRaw(_ name: String, _ contents: [UInt8]) throws(CheckpointError) {
        try write(contents, toFile: "\(name).img")
    }

    private mutating func write(_ contents: [UInt8], toFile name: String) throws(CheckpointError) {
        var file = try OutputFile(creating: name, beginningWith: contents, in: directory)
        try file.finish()
        bytes &+= UInt64(contents.count)
    }

    private mutating func writeLocks() throws(CheckpointError) {
        let locks = plan.group.fileLocks
        let messages = locks.compactMap(FileLockImage.message(of:))
        if messages.count < locks.count {
            let reason = "\(locks.count - messages.count) locks on files are lost"
            obstacles.append(Obstacle(.degraded, pid: nil, reason: reason))
        }
        if !messages.isEmpty { try write(.fileLocks, "filelocks", messages) }
    }

    private mutating func writeTerminals() throws(CheckpointError) {
        guard let terminals = plan.files.terminals, !terminals.information.isEmpty else { return }
        try write(.terminalInformation, "tty-info", terminals.information)
        if !terminals.data.isEmpty { try write(.terminalData, "tty-data", terminals.data) }
    }

    private mutating func write(_ plan: ProcessPlan, cgroupSet: UInt32, seccomp: SeccompImage, pages supply: inout Supply)
        throws(CheckpointError)
    {
        let process = plan.process
        let pid = process.pid
        if case .zombie(let exitCode) = process.state {
            try write(.core, "core-\(pid)", [CoreImage.zombieMessage(of: process, exitCode: exitCode)])
            return
        }
        guard let spaceID = process.addressSpace, let original = self.plan.group.addressSpaces[spaceID],
            let context = process.filesystemContext.flatMap({ self.plan.group.filesystemContexts[$0] }),
            let actions = process.signalActions.flatMap({ self.plan.group.signalActions[$0] })
        else { throw .model("process \(pid) names what its group does not have") }
        let identifiers = KernelObjectIDs.message(of: process, in: self.plan.namespaces, self.plan.users)
        for (thread, restarted) in zip(process.threads, plan.threads) {
            let core = CoreImage(registers: restarted.registers, thread: thread, seccomp: seccomp.mode(of: thread))
            let message =
                thread.tid == pid
                ? core.leaderMessage(of: process, actions: actions, identifiers: identifiers, cgroupSet: cgroupSet)
                : core.message()
            try write(.core, "core-\(thread.tid)", [message])
        }
        try write(.identifiers, "ids-\(pid)", [identifiers])
        let workingDirectory = self.plan.directory(context.workingDirectory)
        let root = self.plan.directory(context.root)
        try write(
            .filesystem, "fs-\(pid)",
            [
                ProtobufMessage { entry in
                    entry.unsigned(1, workingDirectory)
                    entry.unsigned(2, root)
                    entry.unsigned(3, context.umask)
                }
            ])
        let space = plan.addressSpace(original)
        let files = self.plan.group.openFiles
        let memory = MemoryImage.message(
            space, executable: space.executable?.rawValue ?? 0, files: { $0.rawValue }, openFlags: { files[$0]?.flags ?? 0 })
        try write(.memory, "mm-\(pid)", [memory])
        let totals = try writePages(of: spaceID, space, plan: plan, supply: &supply)
        memoryBytes[pid] = totals.pages &* UInt64(FrameNumber.size)
    }

    private mutating func pagesNumber() -> UInt32 {
        defer { nextPagesNumber &+= 1 }
        return nextPagesNumber
    }

    private mutating func writePages(
        of id: AddressSpaceID, _ space: AddressSpace, plan: ProcessPlan, supply: inout Supply
    ) throws(CheckpointError) -> PagesWriter.Totals {
        var writer = try PagesWriter(mapName: "pagemap-\(plan.process.pid)", pagesNumber: pagesNumber(), in: directory)
        let ranges = space.mappings.filter { MemoryImage.holdsPages($0.kind) }.map { $0.start.rawValue..<$0.end.rawValue }
        let fileRanges = space.mappings.filter { mapping in
            switch mapping.kind {
            case .privateFile, .memfd(_, isPrivate: true): true
            default: false
            }
        }.map { $0.start.rawValue..<$0.end.rawValue }
        var selector = PageSelector(ranges: ranges, fileRanges: fileRanges, stub: plan.stub, patches: plan.patches)
        var batches = BatchCursor(.addressSpace(id))
        while let runs = try batches.next(from: &supply) {
            try Self.write(runs, chosenBy: &selector, to: &writer, supply: &supply)
        }
        for segment in selector.finish() { try Self.write(segment, to: &writer, supply: &supply) }
        if selector.unchangedPages > 0 {
            obstacles.append(
                Obstacle(
                    .degraded, pid: plan.process.pid,
                    reason:
                        "a time limit, or a number that a call was to write, is in a page that it has not written to yet, and stays as it was"
                ))
        }
        if selector.strayPages > 0 {
            obstacles.append(
                Obstacle(
                    .degraded, pid: plan.process.pid,
                    reason: "\(selector.strayPages) pages lay outside every mapping that holds pages and are left out"))
        }
        return try finish(writer, supply: &supply)
    }

    private mutating func finish(_ writer: consuming PagesWriter, supply: inout Supply) throws(CheckpointError)
        -> PagesWriter.Totals
    {
        let totals = try writer.finish(from: &supply)
        bytes &+= totals.bytes
        pages &+= totals.pages
        return totals
    }

    /// A portion of the runs at a time, for what is chosen of many scattered pages takes more memory than the runs themselves.
    private static func write(
        _ runs: [PageRun], chosenBy selector: inout PageSelector, to writer: inout PagesWriter, supply: inout Supply
    ) throws(CheckpointError) {
        var rest = runs[...]
        while !rest.isEmpty {
            for segment in try selector.select(Array(rest.prefix(portion))) {
                try write(segment, to: &writer, supply: &supply)
            }
            rest = rest.dropFirst(portion)
        }
    }

    private static func write(_ segment: PageSelector.Segment, to writer: inout PagesWriter, supply: inout Supply)
        throws(CheckpointError)
    {
        switch segment {
        case .lent(let run): try writer.append(run, from: &supply)
        case .own(let address, let bytes): try writer.append(bytes, at: address, from: &supply)
        case .patched(let address, let frame, let patches):
            var page = try supply.copy(frame)
            PageSelector.apply(patches, to: &page)
            try writer.append(page, at: address, from: &supply)
        }
    }

    private mutating func writeDescriptorTables() throws(CheckpointError) {
        var done: Set<DescriptorTableID> = []
        for process in plan.tree.ordered {
            guard let id = process.descriptorTable, done.insert(id).inserted, let table = plan.group.descriptorTables[id] else {
                continue
            }
            var entries: [ProtobufMessage] = []
            for descriptor in table.descriptors {
                let target = plan.descriptorTarget(descriptor.file)
                entries.append(FileImage.descriptor(descriptor, file: target.entry, type: target.type))
            }
            try write(.descriptors, "fdinfo-\(id)", entries)
        }
    }

    private mutating func writeSharedMemory(pages supply: inout Supply) throws(CheckpointError) {
        var needed: Set<SharedMemoryID> = []
        for process in plan.tree.ordered {
            for mapping in process.addressSpace.flatMap({ plan.group.addressSpaces[$0] })?.mappings ?? [] {
                if let memory = mapping.kind.sharedMemory { needed.insert(memory) }
            }
        }
        var inodes: [ProtobufMessage] = []
        for (id, file) in plan.group.openFiles.sorted(by: { $0.key < $1.key }) {
            guard case .memfd(let memoryID) = file.kind, plan.files.types[id.rawValue] == .memfd else { continue }
            guard let memory = plan.group.sharedMemory[memoryID], let memfd = memory.memfd else {
                throw .model("a memfd has no contents")
            }
            if needed.insert(memoryID).inserted { inodes.append(FileImage.memfdInode(memoryID, memory, memfd)) }
        }
        if !inodes.isEmpty { try write(.memfdInodes, "memfd", inodes) }
        for id in needed.sorted() {
            try writeSharedMemory(id, name: "pagemap-shmem-\(id.imageNumber)", pages: &supply)
        }
        for segment in plan.namespaces.ipc?.segments ?? [] {
            try writeSharedMemory(segment.memory, name: "pagemap-shmem-\(segment.permissions.id)", pages: &supply)
        }
    }

    private mutating func writeSharedMemory(_ id: SharedMemoryID, name: String, pages supply: inout Supply)
        throws(CheckpointError)
    {
        guard let memory = plan.group.sharedMemory[id] else { throw .model("shared memory \(id) could not be read") }
        var writer = try PagesWriter(mapName: name, pagesNumber: pagesNumber(), in: directory)
        let size = (memory.sizeBytes.addingReportingOverflow(4095).partialValue) & ~4095
        var selector = PageSelector(ranges: size == 0 ? [] : [0..<size], stub: nil, patches: [])
        var batches = BatchCursor(.sharedMemory(id))
        while let runs = try batches.next(from: &supply) {
            try Self.write(runs, chosenBy: &selector, to: &writer, supply: &supply)
        }
        // Beyond the end there can be the rest of the last folio, which has at most 512 pages.
        guard selector.strayPages < 512 else {
            throw .model("shared memory \(id) has \(selector.strayPages) pages beyond its end")
        }
        _ = try finish(writer, supply: &supply)
    }

    /// `userns-N`, `utsns-N`, `netns-N` with `netdev-N`, and `ipcns-*-N`, N being what the tasks' `task_kobj_ids_entry` says.
    private mutating func writeNamespaces() throws(CheckpointError) {
        if let users = plan.users.namespace {
            try write(.userNamespace, "userns-\(KernelObjectIDs.ownUsers)", [GroupUsers.message(users)])
        }
        if let uts = plan.namespaces.uts {
            try write(.utsNamespace, "utsns-\(KernelObjectIDs.ownUTS)", [NamespaceImage.uts(uts)])
        }
        if let networks = plan.namespaces.networks {
            for member in networks.members { try write(member, of: networks) }
        }
        guard let ipc = plan.namespaces.ipc else { return }
        let number = KernelObjectIDs.ownIPC
        try write(.ipcVariables, "ipcns-var-\(number)", [NamespaceImage.variables(ipc)])
        try write(.ipcSegments, "ipcns-shm-\(number)", ipc.segments.map(NamespaceImage.segment))
        var queues = try ImageWriter(.ipcMessages, name: "ipcns-msg-\(number)", in: directory)
        for queue in ipc.messageQueues {
            try queues.append(NamespaceImage.queue(queue))
            for message in queue.messages {
                try queues.append(NamespaceImage.message(message))
                try queues.append(payload: NamespaceImage.padded(message.bytes))
            }
        }
        bytes &+= try queues.finish()
        var sets = try ImageWriter(.ipcSemaphores, name: "ipcns-sem-\(number)", in: directory)
        for set in ipc.semaphoreSets {
            try sets.append(NamespaceImage.set(set))
            let values = set.values.flatMap { [UInt8(truncatingIfNeeded: $0), UInt8(truncatingIfNeeded: $0 >> 8)] }
            try sets.append(payload: NamespaceImage.padded(values))
        }
        bytes &+= try sets.finish()
    }

    private mutating func write(_ member: GroupNetworks.Member, of networks: GroupNetworks) throws(CheckpointError) {
        let network = member.namespace
        try write(.networkNamespace, "netns-\(member.id)", [ProtobufMessage()])
        let devices = NetworkAssessment.devices(of: network, in: networks)
        let messages = devices.map { NetworkAssessment.message($0, of: network, in: networks) }
        try write(.networkDevices, "netdev-\(member.id)", messages)
        try writeRaw("ifaddr-\(member.id)", RoutingDump.addresses(of: devices, before: network.routes).bytes)
        for (name, size) in [("route", 4), ("route6", 16)] {
            let routes = network.routes.filter { $0.destination.count == size }
            if !routes.isEmpty { try writeRaw("\(name)-\(member.id)", RoutingDump.routes(routes).bytes) }
        }
        if let file = member.packetFilterFile { try write(PacketFilterDump(network.packetFilter).bytes, toFile: file) }
        // Each has an end of its own of a connection from one to another.
        if !plan.files.connections.isEmpty {
            try writeRaw("nftables-\(member.id)", Array(NetworkAssessment.connectionLock.utf8))
        }
    }

    /// `mountpoints-N`, and `tmpfs-dev-N.tar.gz`, N being the number of its device.
    private mutating func writeMounts(pages supply: inout Supply) throws(CheckpointError) {
        guard let mounts = plan.namespaces.mounts else { return }
        for member in mounts.members { try write(.mounts, "mountpoints-\(member.id)", member.plan.messages) }
        for (device, contents) in mounts.memory {
            guard var contents else { throw .model("a tmpfs has no contents") }
            contents.entries += plan.files.links.filter { $0.link.device == device }.map(\.link.entry)
            var archive = try StoredGzip(creating: "tmpfs-dev-\(device).tar.gz.img", in: directory)
            try MemoryArchive.write(contents, device: device, to: &archive, pages: &supply)
            bytes &+= try archive.finish()
        }
    }

    private mutating func writeQueues() throws(CheckpointError) {
        try writePipes(.pipeData, "pipes-data", type: .pipe)
        try writePipes(.fifoData, "fifo-data", type: .fifo)
        for (_, socket, connection) in plan.files.connections {
            let inode = UInt32(truncatingIfNeeded: socket.inode)
            var image = try ImageWriter(.tcpStream, name: "tcp-stream-" + String(inode, radix: 16), in: directory)
            try image.append(SocketImage.stream(connection))
            try image.append(payload: connection.receiveQueue)
            try image.append(payload: connection.sendQueue)
            bytes &+= try image.finish()
        }
        guard plan.files.queues.contains(where: { !$0.socket.receiveQueue.isEmpty }) else { return }
        var image = try ImageWriter(.socketQueues, name: "sk-queues", in: directory)
        for (socket, receiver) in plan.files.queues {
            for message in socket.receiveQueue {
                let files = message.files.map { plan.descriptorTarget($0).entry }
                try image.append(SocketImage.queued(message, receiver: receiver, files: files))
                try image.append(payload: message.bytes)
            }
        }
        bytes &+= try image.finish()
    }

    /// `pipe_data_entry` and bytes for each pipe, also an empty one: the entry carries its capacity.
    private mutating func writePipes(_ kind: ImageKind, _ name: String, type: FileImage.EntryType) throws(CheckpointError) {
        var pipes: Set<PipeID> = []
        for (id, file) in plan.group.openFiles where plan.files.types[id.rawValue] == type {
            switch file.kind {
            case .pipe(let pipe), .fifo(_, let pipe): pipes.insert(pipe)
            default: break
            }
        }
        guard !pipes.isEmpty else { return }
        var image = try ImageWriter(kind, name: name, in: directory)
        for id in pipes.sorted() {
            guard let pipe = plan.group.pipes[id] else { throw .model("pipe \(id) could not be read") }
            // The agent fills those with packets, which CRIU would not keep apart.
            let contents = pipe.pieces.isEmpty ? pipe.queuedBytes : []
            try image.append(
                ProtobufMessage { entry in
                    entry.unsigned(1, id.rawValue)
                    entry.unsigned(2, UInt32(clamping: contents.count))
                    if pipe.capacityBytes > 0 { entry.unsigned(3, pipe.capacityBytes) }
                })
            try image.append(payload: contents)
        }
        bytes &+= try image.finish()
    }

    /// What the agent puts into pipes and queues.
    private mutating func writePackets() throws(CheckpointError) {
        for file in plan.files.lent {
            guard case .queue(let queue, let contents) = file.kind else { continue }
            try writeRaw(contents, queue.messages.flatMap(\.bytes))
        }
        for (pipe, id) in zip(plan.packetPipes.pipes, plan.packetPipes.ids) {
            try writeRaw(pipe.contents, plan.group.pipes[id]?.queuedBytes ?? [])
        }
    }

    /// `remap_file_path_entry`, `ghost_file_entry` and the contents of files whose names were removed.
    private mutating func writeGhosts(pages supply: inout Supply) throws(CheckpointError) {
        let ghosts = plan.files.ghosts
        /// REMAP_TYPE LINKED, GHOST and PROCFS.
        func remap(_ entry: UInt32, to other: UInt32, type: UInt32) -> ProtobufMessage {
            ProtobufMessage { message in
                message.unsigned(1, entry)
                message.unsigned(2, other)
                message.unsigned(3, type)
            }
        }
        let remaps =
            ghosts.map { remap($0.entry, to: plan.files.ghostNumber($0), type: 1) }
            + plan.files.links.map { remap($0.entry, to: $0.name, type: 0) }
            + plan.files.ended.map { remap($0.entry, to: UInt32(bitPattern: $0.process), type: 2) }
        if !remaps.isEmpty { try write(.fileRemaps, "remap-fpath", remaps) }
        for ghost in ghosts where plan.files.ghostNumber(ghost) == ghost.entry { try writeGhost(ghost, supply: &supply) }
    }

    private mutating func writeGhost(_ ghost: FileTable.Ghost, supply: inout Supply) throws(CheckpointError) {
        let name = "ghost-file-" + String(ghost.entry, radix: 16)
        var image = try ImageWriter(.ghostFile, name: name, in: directory)
        try image.append(
            ProtobufMessage { entry in
                entry.unsigned(1, ghost.node.uid)
                entry.unsigned(2, ghost.node.gid)
                entry.unsigned(3, ghost.node.mode)
                entry.unsigned(4, UInt32(truncatingIfNeeded: ghost.node.device))
                entry.unsigned(5, ghost.node.inode)
                if case .characterDevice(let major, let minor) = ghost.node.type {
                    // new_encode_dev of include/linux/kdev_t.h, as stat(2) shows it.
                    entry.unsigned(6, minor & 0xff | major << 8 | (minor & ~0xff) << 12)
                }
                // Only together does CRIU set them, and as numbers without a sign.
                if let accessed = ghost.node.accessed, let modified = ghost.node.modified {
                    for (field, time) in [(UInt32(7), accessed), (8, modified)] {
                        entry.message(field) { image in
                            image.unsigned(1, UInt64(bitPattern: time.seconds))
                            image.unsigned(2, time.nanoseconds / 1000)
                        }
                    }
                }
                guard ghost.node.type == .regular else { return }
                entry.flag(9, true)
                entry.unsigned(10, ghost.node.sizeBytes)
            })
        guard ghost.node.type == .regular else {
            bytes &+= try image.finish()
            return
        }
        var batches = BatchCursor(.deletedFile(device: ghost.node.device, inode: ghost.node.inode))
        var cached: UInt64 = 0
        while let runs = try batches.next(from: &supply) {
            for run in runs where run.address.rawValue < ghost.node.sizeBytes {
                cached &+= UInt64(run.count)
                try writeChunk(run, size: ghost.node.sizeBytes, to: &image, supply: &supply)
            }
        }
        if cached < ghost.node.sizeBytes / 4096 {
            obstacles.append(
                Obstacle(
                    .degraded, pid: nil, reason: "parts of removed file \(ghost.node.path) were not in memory and read as zeros"
                ))
        }
        bytes &+= try image.finish()
    }

    /// `ghost_chunk_entry` and its bytes, cut at the file's end.
    private func writeChunk(_ run: PageRun, size: UInt64, to image: inout ImageWriter, supply: inout Supply)
        throws(CheckpointError)
    {
        for index in 0..<UInt64(run.count) {
            let offset = run.address.rawValue &+ index &* UInt64(FrameNumber.size)
            guard offset < size else { return }
            let page = try supply.copy(FrameNumber(rawValue: run.frame.rawValue &+ index))
            let length = min(UInt64(page.count), size - offset)
            try image.append(
                ProtobufMessage { entry in
                    entry.unsigned(1, length)
                    entry.unsigned(2, offset)
                })
            try image.append(payload: Array(page.prefix(Int(length))))
        }
    }
}
