import PlainJSON
import ProcessModel

/// Why a recovery manifest is not accepted.
public struct ManifestError: Error, Sendable, Equatable, CustomStringConvertible {
    /// Where in it, as a path: `groups[2].images`.
    public var place: String
    public var problem: String

    public var description: String {
        place.isEmpty ? "cannot use recovery.json: \(problem)" : "cannot use recovery.json: \(place) \(problem)"
    }
}

extension RecoveryManifest {
    /// Reads a manifest that anybody may have written: every name that becomes a path is checked, and every number is in its range.
    public init(parsing bytes: [UInt8]) throws(ManifestError) {
        let value: JSONValue
        do { value = try JSONValue(parsing: bytes, limits: JSONLimits(bytes: 64 << 20, depth: 16)) } catch {
            throw ManifestError(place: "", problem: error.description)
        }
        try self.init(json: value)
    }

    public init(json value: JSONValue) throws(ManifestError) {
        let root = ManifestNode(value, place: "")
        let schema = try root.text("schema")
        guard schema == Self.schema else {
            throw ManifestError(place: "schema", problem: "is \"\(schema)\", only \(Self.schema) is known")
        }
        guard let salvager = Salvager(rawValue: try root.text("salvaged_by")) else {
            throw ManifestError(place: "salvaged_by", problem: "is none of minor, control, offline")
        }
        self.init(
            id: try root.text("id"), guest: try root.text("guest"), kernel: try root.text("kernel"),
            cause: try root.text("cause"),
            crashedAt: try root.real("crashed_at"), salvagedBy: salvager)
        largestPID = try root.integer("largest_pid", in: 0...Self.pidLimit)
        timeline = try root.list("timeline") { (node) throws(ManifestError) in
            Phase(
                name: try node.text("phase"), start: try node.real("start"), seconds: try node.real("seconds"),
                bytes: try node.unsigned("bytes"), pages: try node.unsigned("pages"))
        }
        groups = try root.list("groups") { (node) throws(ManifestError) in try Group(node) }
        mountPoints = try root.optionalList("mount_points") { (node) throws(ManifestError) in try node.absolutePath("path") }
        memoryMounts = try root.optionalList("memory_mounts") { (node) throws(ManifestError) in
            MemoryMount(
                path: try node.absolutePath("path"), source: try node.text("source"), options: try node.text("options"),
                flags: try node.unsigned("flags"), minor: try node.integer("minor", in: 0...UInt32.max))
        }
        files = try root.list("files") { (node) throws(ManifestError) in try FileCatchUp(node) }
        directories = try root.optionalList("directories") { (node) throws(ManifestError) in
            RecoveryManifest.DirectoryListing(
                path: try node.directoryPath("path"), inode: try node.unsigned("inode"), names: try node.texts("names"))
        }
        removed = try root.list("removed") { (node) throws(ManifestError) in
            RemovedFile(path: try node.absolutePath("path"), inode: try node.optionalUnsigned("inode"))
        }
        gaps = try root.list("gaps") { (node) throws(ManifestError) in
            Gap(
                object: try node.text("object"), field: try node.text("field"), address: try node.text("address"),
                reason: try node.text("reason"))
        }
        var names: Set<String> = []
        for group in groups where !names.insert(group.name).inserted {
            throw ManifestError(place: "groups", problem: "names \(group.name) twice")
        }
    }

    /// PID_MAX_LIMIT of Linux.
    static let pidLimit: Int32 = 4 << 20
}

extension RecoveryManifest.Group {
    fileprivate init(_ node: ManifestNode) throws(ManifestError) {
        self.init(
            name: try node.fileName("name"), cgroup: try node.absolutePath("cgroup"), verdict: try node.verdict("verdict"),
            reasons: try node.texts("reasons"), images: try node.optionalRelativePath("images"),
            rootPID: try node.integer("root_pid", in: 0...RecoveryManifest.pidLimit))
        hasPIDNamespace = try node.optionalFlag("pid_namespace") ?? false
        disablesHugePages = try node.optionalFlag("no_huge_pages") ?? false
        reservedPages = try node.optionalList("reserved_pages") { (node) throws(ManifestError) in
            RecoveryManifest.ReservedPages(sizeBytes: try node.unsigned("bytes"), count: try node.unsigned("count"))
        }
        cgroups = try node.optionalList("cgroups") { (node) throws(ManifestError) in try RecoveryManifest.Cgroup(node) }
        cgroupRoot = try node.optionalPlace("cgroup_namespace")
        mountRoot = try node.optionalDirectoryPath("mount_root")
        mountRootFlags = try node.optionalUnsigned("mount_root_flags")
        overlay = try node.optional("overlay") { (node) throws(ManifestError) in
            RecoveryManifest.Overlay(
                lower: try node.list("lower") { (node) throws(ManifestError) in try node.directoryPath("path") },
                upper: try node.optionalDirectoryPath("upper"), work: try node.optionalDirectoryPath("work"),
                options: try node.text("options"))
        }
        mounts = try node.optionalList("mounts") { (node) throws(ManifestError) in
            RecoveryManifest.Mount(key: try node.fileName("key"), path: try node.directoryPath("path"))
        }
        formats = try node.optionalList("formats") { (node) throws(ManifestError) in
            RecoveryManifest.Format(
                name: try node.fileName("name"),
                registration: (try node.optionalIntegers("registration", in: 0...255) ?? []).map { UInt8($0) },
                isEnabled: try node.optionalFlag("enabled") ?? true)
        }
        requiredMounts = try node.optionalList("required_mounts") { (node) throws(ManifestError) in
            try node.directoryPath("path")
        }
        requiredDevices = try node.optionalList("required_devices") { (node) throws(ManifestError) in
            RecoveryManifest.Device(name: try node.text("name"), number: try node.integer("number", in: 1...Int32.max))
        }
        bytes = try node.unsigned("bytes")
        pages = try node.unsigned("pages")
        pseudoTerminals = try (node.optionalIntegers("pseudo_terminals", in: 0...1000) ?? []).map { UInt32($0) }
        processes = try node.list("processes") { (node) throws(ManifestError) in
            var process = RecoveryManifest.Process(
                pid: try node.integer("pid", in: 1...RecoveryManifest.pidLimit), command: try node.text("command"),
                verdict: try node.verdict("verdict"), reasons: try node.texts("reasons"),
                memoryBytes: try node.unsigned("memory_bytes"),
                files: try node.integer("files", in: 0...Int(Int32.max)),
                sockets: try node.integer("sockets", in: 0...Int(Int32.max)),
                threads: try node.list("threads") { (node) throws(ManifestError) in try RecoveryManifest.ThreadAttributes(node)
                })
            process.cgroup = try node.optionalPlace("cgroup")
            return process
        }
        sockets = try node.optionalList("sockets") { (node) throws(ManifestError) in try RecoveryManifest.Socket(node) }
        lentFiles = try node.optionalList("lent_files") { (node) throws(ManifestError) in try RecoveryManifest.LentFile(node) }
        pipes = try node.optionalList("pipes") { (node) throws(ManifestError) in try RecoveryManifest.Pipe(node) }
        imagesGroup = try node.optionalUnsigned("images_group").map { UInt32(clamping: $0) }
        needsOldMounts = try node.optionalFlag("old_mounts") ?? false
        hasNetworkNamespace = try node.optionalFlag("network_namespace") ?? false
        lowerDevices = try node.optionalList("lower_devices") { (node) throws(ManifestError) in
            guard let lower = try node.optional("lower", { (node) throws(ManifestError) in try RecoveryManifest.LinkEnd(node) })
            else { throw ManifestError(place: node.place, problem: "has no device") }
            return RecoveryManifest.LowerDevice(
                device: try node.fileName("device"), lower: lower,
                bridgeNumber: try node.optionalUnsigned("bridge").map { UInt32(clamping: $0) })
        }
        links = try node.optionalList("links") { (node) throws(ManifestError) in
            let ends = (
                try node.optional("peer") { (node) throws(ManifestError) in try RecoveryManifest.LinkEnd(node) },
                try node.optional("bridge") { (node) throws(ManifestError) in try RecoveryManifest.LinkEnd(node) }
            )
            guard let peer = ends.0 else { throw ManifestError(place: node.place + ".peer", problem: "is missing") }
            return RecoveryManifest.Link(device: try node.fileName("device"), peer: peer, bridge: ends.1)
        }
        networkSettings = try node.networkSettings("network_settings")
        innerNetworks = try node.optionalList("inner_networks") { (node) throws(ManifestError) in
            RecoveryManifest.InnerNetwork(
                pid: try node.integer("pid", in: 1...RecoveryManifest.pidLimit), settings: try node.networkSettings("settings"),
                packetFilter: try node.optionalRelativePath("packet_filter"))
        }
        packetFilter = try node.optionalRelativePath("packet_filter")
        connections = try node.list("connections") { (node) throws(ManifestError) in
            RecoveryManifest.Connection(
                source: try node.integer("source", in: 1...UInt16.max),
                destination: try node.integer("destination", in: 1...UInt16.max))
        }
        guard images == nil || rootPID >= (hasPIDNamespace ? 1 : 2) else {
            throw ManifestError(place: node.place + ".root_pid", problem: "is no process id")
        }
    }
}

extension ManifestNode {
    fileprivate func networkSettings(_ key: String) throws(ManifestError) -> [NetworkSetting] {
        try optionalList(key) { (node) throws(ManifestError) in
            NetworkSetting(path: try node.text("path"), value: try node.text("value"))
        }
    }
}

extension RecoveryManifest.LinkEnd {
    fileprivate init(_ node: ManifestNode) throws(ManifestError) {
        name = try node.fileName("name")
        isUp = try node.optionalFlag("up") ?? false
        hardwareAddress = try node.text("hardware_address")
        addresses = try node.texts("addresses")
        // One of an older version has none.
        if try node.optionalUnsigned("mtu") != nil { mtu = try node.integer("mtu", in: Self.mtus) }
    }
}

extension RecoveryManifest.Cgroup {
    fileprivate init(_ node: ManifestNode) throws(ManifestError) {
        path = try node.optionalPlace("path") ?? ""
        controllers = try node.texts("controllers")
        settings = try node.list("settings") { (node) throws(ManifestError) in
            ControlGroup.Setting(try node.fileName("name"), try node.text("value"))
        }
        deviceFilters = try node.list("device_filters") { (node) throws(ManifestError) in
            let instructions = try node.texts("instructions").map { UInt64($0, radix: 16) }
            guard !instructions.contains(nil) else {
                throw ManifestError(place: node.place + ".instructions", problem: "are not all hexadecimal numbers")
            }
            return ControlGroup.DeviceFilter(
                instructions: instructions.compactMap(\.self), attachFlags: UInt32(clamping: try node.unsigned("flags")))
        }
    }
}

extension RecoveryManifest.Socket {
    fileprivate init(_ node: ManifestNode) throws(ManifestError) {
        self.init(
            pid: try node.integer("pid", in: 1...RecoveryManifest.pidLimit),
            descriptor: try node.integer("descriptor", in: 0...Int32.max),
            options: try node.list("options") { (node) throws(ManifestError) in
                LateSocketOption(
                    name: try node.text("name"), level: try node.integer("level", in: 0...255),
                    number: try node.integer("number", in: 0...Int32.max), value: try Self.value(node))
            })
    }

    private static func value(_ node: ManifestNode) throws(ManifestError) -> LateSocketOption.Value {
        guard node.isText("value") else { return .number(try node.integer("value", in: Int32.min...Int32.max)) }
        let text = try node.text("value")
        guard 1...LateSocketOption.textLimit ~= text.utf8.count, !text.utf8.contains(0) else {
            throw ManifestError(place: node.place, problem: "has a value that no option takes")
        }
        return .text(text)
    }
}

extension RecoveryManifest.LentFile {
    fileprivate init(_ node: ManifestNode) throws(ManifestError) {
        self.init(
            name: try node.text("name"), flags: try node.integer("flags", in: 0...UInt32.max), kind: try Self.kind(node))
    }

    private static func kind(_ node: ManifestNode) throws(ManifestError) -> Kind {
        if let text = try node.optionalText("semaphore") {
            guard let counter = UInt64(text) else { throw ManifestError(place: node.place, problem: "counts no number") }
            return .semaphore(counter: counter)
        }
        guard let queue = try node.optional("queue", { (node) throws(ManifestError) in try Self.queue(node) }) else {
            throw ManifestError(place: node.place, problem: "is no file that is known")
        }
        return queue
    }

    /// The messages are beside the images, so those here are as long, and zeros.
    private static func queue(_ node: ManifestNode) throws(ManifestError) -> Kind {
        var queue = PosixQueue(
            name: KernelString(bytes: Array(try node.fileName("name").utf8)),
            isRemoved: try node.optionalFlag("removed") ?? false,
            inode: try node.unsigned("inode"), ipcNamespace: try node.integer("ipc_namespace", in: 0...UInt32.max),
            mode: try node.integer("mode", in: 0...0o7777), uid: try node.integer("uid", in: 0...UInt32.max),
            gid: try node.integer("gid", in: 0...UInt32.max), messageLimit: try node.unsigned("message_limit"),
            messageBytes: try node.unsigned("message_bytes"))
        queue.hasNotification = try node.optionalFlag("notifies") ?? false
        // As much as is read of a queue.
        var room = 64 << 20
        queue.messages = try node.list("messages") { (node) throws(ManifestError) in
            let count = try node.integer("bytes", in: 0...room)
            room -= count
            return PosixQueue.Message(
                priority: try node.integer("priority", in: 0...UInt32.max), bytes: Array(repeating: 0, count: count))
        }
        return .queue(queue, contents: try node.fileName("contents"))
    }
}

extension RecoveryManifest.Pipe {
    fileprivate init(_ node: ManifestNode) throws(ManifestError) {
        self.init(
            pid: try node.integer("pid", in: 1...RecoveryManifest.pidLimit),
            descriptor: try node.integer("descriptor", in: 0...Int32.max), contents: try node.fileName("contents"),
            pieces: try node.list("pieces") { (node) throws(ManifestError) in
                ProcessModel.Pipe.Piece(
                    byteCount: try node.integer("bytes", in: 0...Int(Int32.max)),
                    isPacket: try node.optionalFlag("packet") ?? false)
            })
    }
}

extension RecoveryManifest.ThreadAttributes {
    fileprivate init(_ node: ManifestNode) throws(ManifestError) {
        self.init(tid: try node.integer("tid", in: 1...RecoveryManifest.pidLimit))
        cpus = try node.optionalIntegers("cpus", in: 0...8191)
        timerSlackNanoseconds = try node.optionalUnsigned("timer_slack_ns")
        ioPriority = try node.optionalUnsigned("io_priority").map { UInt16(clamping: $0) }
        coredumpFilter = try node.optionalUnsigned("coredump_filter").map { UInt32(clamping: $0) }
    }
}

extension RecoveryManifest.FileCatchUp {
    fileprivate init(_ node: ManifestNode) throws(ManifestError) {
        self.init(
            path: try node.absolutePath("path"), inode: try node.unsigned("inode"), size: try node.unsigned("size"),
            mode: try node.integer("mode", in: 0...0o177777), uid: try node.integer("uid", in: 0...UInt32.max),
            gid: try node.integer("gid", in: 0...UInt32.max), content: try node.optionalRelativePath("content"),
            extents: try node.triples("extents").map { Extent(fileOffset: $0.0, length: $0.1, contentOffset: $0.2) },
            isHeld: try node.optionalFlag("held") ?? true,
            links: UInt32(clamping: try node.optionalUnsigned("links") ?? 1), isWhole: try node.optionalFlag("whole") ?? false)
        target = try node.optionalText("target")
        otherName = try node.optionalAbsolutePath("other_name")
        modified = try node.optional("modified", FileTime.init)
        accessed = try node.optional("accessed", FileTime.init)
        for extent in extents {
            // off_t is signed: all ends must stay below 2^63.
            let ends = [extent.fileOffset, extent.contentOffset].map { $0.addingReportingOverflow(extent.length) }
            guard ends.allSatisfy({ !$0.overflow && $0.partialValue <= UInt64(Int64.max) }) else {
                throw ManifestError(place: node.place + ".extents", problem: "go beyond the largest file")
            }
        }
        guard size <= UInt64(Int64.max) else {
            throw ManifestError(place: node.place + ".size", problem: "is beyond the largest file")
        }
        guard extents.isEmpty || content != nil else {
            throw ManifestError(place: node.place, problem: "has extents but no content")
        }
    }
}

extension FileTime {
    fileprivate init(_ node: ManifestNode) throws(ManifestError) {
        self.init(
            seconds: try node.integer("seconds", in: Int64.min...Int64.max),
            nanoseconds: try node.integer("nanoseconds", in: 0...999_999_999))
    }
}
