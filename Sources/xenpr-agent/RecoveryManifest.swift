import PlainJSON

/// What `recovery.json` (schema "xenpr.recovery/1") says, as far as the restore needs it.
///
/// It was derived from a dead kernel's memory: names and numbers are checked here, paths where they are used.
struct RecoveryManifest {
    /// A safe file name.
    let id: String
    /// 0 when it is unknown.
    let largestPID: Int32
    /// Seconds since the epoch, by the dead kernel's clock; nil: not known.
    let crashedAt: Int64?
    let groups: [Group]
    let memoryMounts: [MemoryMount]
    /// Where a filesystem has to be mounted that files are in.
    let mountPoints: [String]
    let files: [File]
    let removed: [Removed]
    let directories: [Listing]

    struct Group {
        /// All that it says of the group.
        let json: JSONValue
        let name: GroupName
        /// "full", "degraded" or "refused".
        let verdict: String
        let reasons: [String]
        let hasImages: Bool
        let rootPID: Int32
        /// Its ids are those of a pid namespace of its own.
        let hasPIDNamespace: Bool
        /// All of its processes run without transparent huge pages.
        let disablesHugePages: Bool
        /// Pages of hugetlb that have to be free.
        let reservedPages: [ReservedPages]
        /// Its own cgroup and those below it, each after the one it lies in.
        let cgroups: [Cgroup]
        /// Which of them is the root of its cgroup namespace; nil: it has none.
        let cgroupRoot: String?
        /// The root of its own mount namespace, a path without "..".
        let mountRoot: String?
        /// What is mounted there first; nil: it is there.
        let overlay: Overlay?
        /// MS_* that it has to get; nil: it is as the guest has it.
        let mountRootFlags: UInt64?
        let mounts: [Mount]
        /// Where the guest has to have something mounted.
        let requiredMounts: [String]
        /// What has to be registered with binfmt_misc, whatever it says: the kernel takes it apart.
        let formats: [(name: String, registration: [UInt8], isEnabled: Bool)]
        /// Network devices that have to have these numbers.
        let requiredDevices: [(name: String, number: Int32)]
        /// Numbers N of the /dev/pts/N that it had both ends of, or the master.
        let pseudoTerminals: [Int]
        let processes: [Process]
        let sockets: [Socket]
        let pipes: [Pipe]
        let lentFiles: [LentFile]
        /// The guest's group that is group 0 in its own user namespace; nil: it has none.
        let imagesGroup: UInt32?
        var hasUserNamespace: Bool { imagesGroup != nil }
        /// In which its images lock its connections.
        /// CRIU has to mount as it did before Linux 5.15.
        let needsOldMounts: Bool
        let hasNetworkNamespace: Bool
        /// What connects that namespace with the guest.
        let links: [Link]
        /// Devices of the guest that those of that namespace lie on.
        let lowerDevices: [LowerDevice]
        /// What that namespace has below /proc/sys/net, in paths without "..".
        let networkSettings: [(path: String, value: String)]
        /// Network namespaces that other processes of the group than its root are in: one process of each.
        let innerNetworks: [InnerNetwork]
        /// The file beside its images that has the packet filter of its root's network namespace.
        let packetFilter: GroupName?
        /// Its own network namespaces, that of its root first.
        var networks: [InnerNetwork] {
            [InnerNetwork(pid: rootPID, settings: networkSettings, packetFilter: packetFilter)] + innerNetworks
        }
        let connections: [Connection]
    }

    /// A network namespace, by a process that is in it.
    struct InnerNetwork {
        let pid: Int32
        let settings: [(path: String, value: String)]
        let packetFilter: GroupName?
    }

    /// A pair of devices (veth), of which CRIU makes both, one of them in the group's own network namespace.
    struct Link {
        let device: DeviceName
        let peer: LinkEnd
        /// What the peer is a port of.
        let bridge: LinkEnd?
    }

    /// A device of the guest that one of a group's own lies on (macvlan).
    struct LowerDevice {
        let device: DeviceName
        let lower: LinkEnd
        /// Its number if it is a bridge.
        let bridgeNumber: UInt32?
    }

    /// A network device of the guest.
    struct LinkEnd {
        let name: DeviceName
        let isUp: Bool
        let hardwareAddress: String
        let addresses: [String]
        /// nil: it stays as it is made.
        let mtu: Int64?
    }

    /// A cgroup of a group, and what is done to it.
    struct Cgroup {
        /// From the group's own on, without ".."; empty: its own.
        let path: String
        let controllers: [String]
        let settings: [(name: String, value: String)]
        let deviceFilters: [DeviceFilter]
    }

    /// A program that decides about devices, in instructions of eBPF.
    struct DeviceFilter {
        let instructions: [UInt64]
        /// BPF_F_* of bpf(2).
        let flags: UInt32
    }

    struct ReservedPages {
        let sizeBytes: Int64
        let count: Int64
    }

    /// An overlay on directories of the guest, in paths without "..".
    struct Overlay {
        let lower: [String]
        let upper: String?
        let work: String?
        /// Further options of mount(2).
        let options: String
    }

    /// A socket of a process, and options that CRIU has not set.
    struct Socket {
        struct Option {
            enum Value {
                case number(Int32)
                case text(String)
            }

            let name: String
            let level: Int32
            let number: Int32
            let value: Value
        }

        let pid: Int32
        let descriptor: Int32
        let options: [Option]
    }

    /// An open file that the agent makes and lends to CRIU.
    struct LentFile {
        enum Kind {
            /// An eventfd of which a read takes one.
            case semaphore(counter: UInt64)
            case queue(Queue)
        }

        /// A POSIX message queue.
        struct Queue {
            struct Message {
                let priority: UInt32
                let byteCount: Int
            }

            /// Without the slash that it begins with: visible characters of ASCII, at most 255, no slash, not "." or "..".
            let name: String
            let isRemoved: Bool
            /// The same for all descriptors that lead to it.
            let inode: UInt64
            let mode: UInt32
            let uid: UInt32
            let gid: UInt32
            let messageLimit: Int
            let messageBytes: Int
            /// The name of the file beside the images that has all the messages, without its ".img".
            let contents: GroupName
            let messages: [Message]
        }

        /// What stands for it in the images.
        let name: String
        /// O_*.
        let flags: Int32
        let kind: Kind
    }

    /// A pipe in which packets waited, by an end of it.
    struct Pipe {
        struct Piece {
            let byteCount: Int
            let isPacket: Bool
        }

        let pid: Int32
        let descriptor: Int32
        /// The name of the file beside the images that has all the bytes, without its ".img".
        let contents: GroupName
        let pieces: [Piece]
    }

    /// What of the guest is mounted in a group's own mount namespace.
    struct Mount {
        /// What the images call it.
        let key: GroupName
        /// Without "..".
        let path: String
    }

    /// The ports of a TCP connection that goes on.
    struct Connection {
        let source: UInt16
        let destination: UInt16
    }

    struct Process {
        let pid: Int32
        let command: String
        let reasons: [String]
        /// From the group's own on; empty: that.
        let cgroup: String
        let threads: [ThreadAttributes]
    }

    /// What CRIU does not set again; nil where it is as the kernel has it by default.
    struct ThreadAttributes {
        let tid: Int32
        /// Numbers of the CPUs that it may run on.
        let cpus: [Int]?
        let timerSlackNanoseconds: Int64?
        /// As ioprio_set(2) takes it.
        let ioPriority: Int32?
        let coredumpFilter: Int64?
    }

    /// A file to be caught up; offsets, lengths and the size are in bytes.
    struct File {
        let path: String
        let inode: UInt64
        let size: Int64
        let mode: UInt32
        let uid: UInt32
        let gid: UInt32
        /// Relative to the volume.
        let content: String?
        let extents: [Extent]
        /// A process that is restored has it open, so it must be as it was whatever happened to it since.
        let isHeld: Bool
        /// How many names it had.
        let links: UInt32
        /// What no extent covers is zeros, whether the file is still there or not.
        let isWhole: Bool
        /// Where a symbolic link leads.
        var target: String?
        /// The path of another one of these, which is the same file.
        var otherName: String?
        /// When it was last written to and read; nil: not known.
        var modified: Time?
        var accessed: Time?
    }

    /// Since the epoch.
    struct Time: Equatable {
        let seconds: Int64
        let nanoseconds: Int64
    }

    struct Extent {
        let fileOffset: Int64
        let length: Int64
        let contentOffset: Int64
    }

    /// A tmpfs that the guest had mounted.
    struct MemoryMount {
        let path: String
        let source: String
        /// What mount(2) is told as data.
        let options: [(name: String, value: String)]
        /// MS_*, none but those that a mount has for itself.
        let flags: UInt64
        /// What its device number was, the major number being 0.
        let minor: UInt32
    }

    /// A directory that changed, with all its names.
    struct Listing {
        let path: String
        let inode: UInt64
        let names: Set<String>
    }

    /// A file that was removed before the crash.
    struct Removed {
        let path: String
        let inode: UInt64?
    }

    static let schema = "xenpr.recovery/1"

    fileprivate static func json(_ bytes: [UInt8]) throws(AgentError) -> JSONValue {
        do throws(JSONError) {
            return try JSONValue(parsing: bytes, limits: JSONLimits(bytes: 64 << 20, depth: 16))
        } catch {
            throw AgentError(description: "cannot read recovery.json: \(error)")
        }
    }

    init(parsing bytes: [UInt8]) throws(AgentError) {
        let json = try Self.json(bytes)
        guard let schema = json["schema"]?.stringValue, schema == Self.schema else {
            throw AgentError(
                description:
                    "cannot read recovery.json: its schema is \(json["schema"]?.stringValue ?? "missing"), this agent knows "
                    + "\(Self.schema); install the xenpr-agent that belongs to the control domain's XenPR")
        }
        guard let id = json["id"]?.stringValue, let name = GroupName(id) else {
            throw AgentError(description: "cannot read recovery.json: its id is no plain name")
        }
        self.id = name.description
        largestPID = Int32(clamping: json["largest_pid"]?.integerValue ?? 0)
        crashedAt = json["crashed_at"]?.numberValue.flatMap { $0 > 0 && $0 < 1e12 ? Int64($0) : nil }
        var groups: [Group] = []
        for value in json["groups"]?.arrayValue ?? [] { groups.append(try Group(value)) }
        self.groups = groups
        mountPoints = (json["mount_points"]?.arrayValue ?? []).compactMap { $0["path"]?.stringValue }
        memoryMounts = (json["memory_mounts"]?.arrayValue ?? []).compactMap(MemoryMount.init)
        var files: [File] = []
        for value in json["files"]?.arrayValue ?? [] { files.append(try File(value)) }
        self.files = files
        directories = (json["directories"]?.arrayValue ?? []).compactMap { value in
            guard let path = value["path"]?.stringValue, let inode = value["inode"]?.integerValue, inode > 0,
                let elements = value["names"]?.arrayValue
            else { return nil }
            let names = Set(elements.compactMap(\.stringValue))
            // A list that is damaged says nothing about what is not on it.
            return names.count == elements.count ? Listing(path: path, inode: UInt64(inode), names: names) : nil
        }
        removed = (json["removed"]?.arrayValue ?? []).compactMap { value in
            guard let path = value["path"]?.stringValue else { return nil }
            return Removed(path: path, inode: value["inode"]?.integerValue.map { UInt64(bitPattern: $0) })
        }
    }
}

extension RecoveryManifest.Group {
    /// One that stands alone.
    init(parsing bytes: [UInt8]) throws(AgentError) {
        try self.init(RecoveryManifest.json(bytes))
    }

    fileprivate init(_ json: JSONValue) throws(AgentError) {
        guard let name = json["name"]?.stringValue.flatMap(GroupName.init), let verdict = json["verdict"]?.stringValue else {
            throw AgentError(description: "cannot read recovery.json: a group has no plain name or no verdict")
        }
        self.json = json
        self.name = name
        self.verdict = verdict
        reasons = (json["reasons"]?.arrayValue ?? []).compactMap(\.stringValue)
        hasImages = json["images"]?.stringValue == "groups/\(name)/images"
        rootPID = Int32(clamping: json["root_pid"]?.integerValue ?? 0)
        hasPIDNamespace = json["pid_namespace"]?.boolValue ?? false
        disablesHugePages = json["no_huge_pages"]?.boolValue ?? false
        reservedPages = (json["reserved_pages"]?.arrayValue ?? []).compactMap { value in
            guard let size = value["bytes"]?.integerValue, let count = value["count"]?.integerValue, size > 0, count > 0 else {
                return nil
            }
            return RecoveryManifest.ReservedPages(sizeBytes: size, count: count)
        }
        cgroups = (json["cgroups"]?.arrayValue ?? []).compactMap(RecoveryManifest.Cgroup.init)
        cgroupRoot = json["cgroup_namespace"]?.stringValue.flatMap(RecoveryManifest.Cgroup.place)
        mountRoot = try json["mount_root"]?.stringValue.map { path throws(AgentError) in try Self.place(path) }
        overlay = try Self.overlay(json["overlay"])
        mountRootFlags = json["mount_root_flags"]?.integerValue.map { UInt64(bitPattern: $0) & Self.mountFlags }
        var mounts: [RecoveryManifest.Mount] = []
        for value in json["mounts"]?.arrayValue ?? [] {
            guard let key = value["key"]?.stringValue.flatMap(GroupName.init), let path = value["path"]?.stringValue else {
                throw AgentError(description: "cannot read recovery.json: a mount of group \(name) has no plain key or no path")
            }
            mounts.append(RecoveryManifest.Mount(key: key, path: try Self.place(path)))
        }
        self.mounts = mounts
        requiredDevices = (json["required_devices"]?.arrayValue ?? []).compactMap { device in
            guard let name = device["name"]?.stringValue,
                let number = device["number"]?.integerValue.flatMap({ Int32(exactly: $0) })
            else { return nil }
            return (name, number)
        }
        formats = (json["formats"]?.arrayValue ?? []).compactMap { format in
            let bytes = (format["registration"]?.arrayValue ?? []).map { $0.integerValue.flatMap { UInt8(exactly: $0) } }
            guard let name = format["name"]?.stringValue, !name.isEmpty, name != ".", name != "..", name != "register",
                name != "status", !name.utf8.contains(where: { $0 == 0 || $0 == UInt8(ascii: "/") }), !bytes.isEmpty,
                !bytes.contains(nil)
            else { return nil }
            return (name, bytes.compactMap(\.self), format["enabled"]?.boolValue ?? true)
        }
        requiredMounts = (json["required_mounts"]?.arrayValue ?? []).compactMap { $0["path"]?.stringValue }
        pseudoTerminals = (json["pseudo_terminals"]?.arrayValue ?? []).compactMap {
            $0.integerValue.flatMap { Int(exactly: $0) }
        }
        sockets = (json["sockets"]?.arrayValue ?? []).compactMap(RecoveryManifest.Socket.init)
        lentFiles = (json["lent_files"]?.arrayValue ?? []).compactMap(RecoveryManifest.LentFile.init)
        pipes = (json["pipes"]?.arrayValue ?? []).compactMap(RecoveryManifest.Pipe.init)
        imagesGroup = json["images_group"]?.integerValue.flatMap { UInt32(exactly: $0) }
        needsOldMounts = json["old_mounts"]?.boolValue ?? false
        hasNetworkNamespace = json["network_namespace"]?.boolValue ?? false
        networkSettings = Self.settings(json["network_settings"])
        innerNetworks = (json["inner_networks"]?.arrayValue ?? []).compactMap { network in
            guard let pid = network["pid"]?.integerValue.flatMap({ Int32(exactly: $0) }), pid > 0 else { return nil }
            return RecoveryManifest.InnerNetwork(
                pid: pid, settings: Self.settings(network["settings"]),
                packetFilter: network["packet_filter"]?.stringValue.flatMap(GroupName.init))
        }
        lowerDevices = (json["lower_devices"]?.arrayValue ?? []).compactMap(RecoveryManifest.LowerDevice.init)
        packetFilter = json["packet_filter"]?.stringValue.flatMap(GroupName.init)
        links = (json["links"]?.arrayValue ?? []).compactMap(RecoveryManifest.Link.init)
        connections = (json["connections"]?.arrayValue ?? []).compactMap { value in
            guard let source = value["source"]?.integerValue.flatMap({ UInt16(exactly: $0) }),
                let destination = value["destination"]?.integerValue.flatMap({ UInt16(exactly: $0) })
            else { return nil }
            return RecoveryManifest.Connection(source: source, destination: destination)
        }
        processes = (json["processes"]?.arrayValue ?? []).compactMap { value in
            guard let pid = value["pid"]?.integerValue.flatMap({ Int32(exactly: $0) }), pid > 0 else { return nil }
            let cgroup = value["cgroup"]?.stringValue.flatMap(RecoveryManifest.Cgroup.place)
            let threads = (value["threads"]?.arrayValue ?? []).compactMap(RecoveryManifest.ThreadAttributes.init)
            return RecoveryManifest.Process(
                pid: pid, command: value["command"]?.stringValue ?? "",
                reasons: (value["reasons"]?.arrayValue ?? []).compactMap(\.stringValue), cgroup: cgroup ?? "", threads: threads)
        }
    }
}

extension RecoveryManifest.Group {
    /// What may be written below /proc/sys/net.
    fileprivate static func settings(_ json: JSONValue?) -> [(path: String, value: String)] {
        (json?.arrayValue ?? []).compactMap { setting in
            guard let path = setting["path"]?.stringValue, path.hasPrefix("net/"), !path.utf8.contains(0),
                path.split(separator: "/", omittingEmptySubsequences: false).allSatisfy({ !["", ".", ".."].contains($0) }),
                let value = setting["value"]?.stringValue, !value.isEmpty,
                value.utf8.allSatisfy({ byte in
                    UInt8(ascii: "0")...UInt8(ascii: "9") ~= byte || UInt8(ascii: "a")...UInt8(ascii: "z") ~= byte
                        || Array(" ,-_:".utf8).contains(byte)
                })
            else { return nil }
            return (path, value)
        }
    }
}

extension RecoveryManifest.Link {
    fileprivate init?(_ json: JSONValue) {
        guard let device = json["device"]?.stringValue.flatMap(DeviceName.init),
            let peer = json["peer"].flatMap(RecoveryManifest.LinkEnd.init)
        else { return nil }
        self.device = device
        self.peer = peer
        bridge = json["bridge"].flatMap(RecoveryManifest.LinkEnd.init)
    }
}

extension RecoveryManifest.LowerDevice {
    fileprivate init?(_ json: JSONValue) {
        guard let device = json["device"]?.stringValue.flatMap(DeviceName.init),
            let lower = json["lower"].flatMap(RecoveryManifest.LinkEnd.init)
        else { return nil }
        self.device = device
        self.lower = lower
        bridgeNumber = json["bridge"]?.integerValue.flatMap { UInt32(exactly: $0) }
    }
}

extension RecoveryManifest.LinkEnd {
    fileprivate init?(_ json: JSONValue) {
        guard let name = json["name"]?.stringValue.flatMap(DeviceName.init) else { return nil }
        self.name = name
        isUp = json["up"]?.boolValue ?? false
        hardwareAddress = json["hardware_address"]?.stringValue.flatMap(Self.plain) ?? ""
        addresses = (json["addresses"]?.arrayValue ?? []).compactMap { $0.stringValue.flatMap(Self.plain) }
        // ETH_MIN_MTU and ETH_MAX_MTU. A manifest of an older version has none.
        mtu = json["mtu"]?.integerValue.flatMap { (68...65535).contains($0) ? $0 : nil }
    }

    /// Numbers, as `ip` takes them.
    private static func plain(_ text: String) -> String? {
        let isPlain = text.utf8.allSatisfy { byte in
            UInt8(ascii: "0")...UInt8(ascii: "9") ~= byte || UInt8(ascii: "a")...UInt8(ascii: "f") ~= byte
                || Array(".:/".utf8).contains(byte)
        }
        return isPlain && (1...64).contains(text.utf8.count) ? text : nil
    }
}

extension RecoveryManifest.Cgroup {
    fileprivate init?(_ json: JSONValue) {
        guard let path = json["path"]?.stringValue.flatMap(Self.place) else { return nil }
        self.path = path
        controllers = (json["controllers"]?.arrayValue ?? []).compactMap(\.stringValue).filter(Self.isWord)
        settings = (json["settings"]?.arrayValue ?? []).compactMap { setting in
            guard let name = setting["name"]?.stringValue, let value = setting["value"]?.stringValue, Self.isSetting(name),
                !value.isEmpty, value.utf8.count < 4096, value.utf8.allSatisfy({ 0x20..<0x7f ~= $0 })
            else { return nil }
            return (name, value)
        }
        deviceFilters = (json["device_filters"]?.arrayValue ?? []).compactMap { filter in
            let words = (filter["instructions"]?.arrayValue ?? []).map { $0.stringValue.flatMap { UInt64($0, radix: 16) } }
            guard !words.isEmpty, !words.contains(nil) else { return nil }
            return RecoveryManifest.DeviceFilter(
                instructions: words.compactMap(\.self), flags: UInt32(clamping: filter["flags"]?.integerValue ?? 0))
        }
    }

    /// A path that does not lead out of the directory it begins in.
    fileprivate static func place(_ path: String) -> String? {
        let parts = path.split(separator: "/", omittingEmptySubsequences: false)
        guard path.utf8.count < 4096, !path.utf8.contains(where: { $0 < 0x20 }),
            path.isEmpty || parts.allSatisfy({ !$0.isEmpty && $0 != "." && $0 != ".." })
        else { return nil }
        return path
    }

    private static func isWord(_ name: String) -> Bool {
        !name.isEmpty && name.utf8.allSatisfy { UInt8(ascii: "a")...UInt8(ascii: "z") ~= $0 || $0 == UInt8(ascii: "_") }
    }

    /// Whether a name is that of a setting. Of those of every cgroup (`cgroup.`) most are no settings: they move and kill processes.
    private static func isSetting(_ name: String) -> Bool {
        let parts = name.split(separator: ".", omittingEmptySubsequences: false)
        guard parts.count > 1, parts.allSatisfy({ isWord(String($0)) }) else { return false }
        return parts[0] != "cgroup" || ["cgroup.freeze", "cgroup.max.depth", "cgroup.max.descendants"].contains(name)
    }
}

extension RecoveryManifest.Group {
    /// MS_RDONLY, NOSUID, NODEV, NOEXEC, NOSYMFOLLOW, NOATIME, NODIRATIME, RELATIME and STRICTATIME: what a mount has for itself.
    fileprivate static let mountFlags: UInt64 = 0xf | 1 << 8 | 1 << 10 | 1 << 11 | 1 << 21 | 1 << 24

    /// What changes how an overlay works, and not what it is made of.
    private static let overlayOptions: Set<Substring> = [
        "index", "xino", "nfs_export", "userxattr", "metacopy", "redirect_dir", "uuid",
    ]

    private static func overlay(_ json: JSONValue?) throws(AgentError) -> RecoveryManifest.Overlay? {
        guard let json, !json.isNull else { return nil }
        func layer(_ json: JSONValue?) throws(AgentError) -> String? {
            guard let path = try json?.stringValue.map({ path throws(AgentError) in try place(path) }) else { return nil }
            // What separates directories and options from each other.
            guard !path.utf8.contains(where: { [UInt8(ascii: ":"), UInt8(ascii: ","), UInt8(ascii: "\\")].contains($0) }) else {
                throw AgentError(description: "cannot read recovery.json: a layer's name has a colon, comma or backslash in it")
            }
            return path
        }
        var lower: [String] = []
        for value in json["lower"]?.arrayValue ?? [] {
            guard let path = try layer(value["path"]) else {
                throw AgentError(description: "cannot read recovery.json: a layer of an overlay has no path")
            }
            lower.append(path)
        }
        let options = json["options"]?.stringValue ?? ""
        let names = options.split(separator: ",").map { $0.prefix { $0 != "=" } }
        guard !lower.isEmpty, names.allSatisfy(overlayOptions.contains) else {
            throw AgentError(description: "cannot read recovery.json: an overlay without layers, or with an unknown option")
        }
        return RecoveryManifest.Overlay(
            lower: lower, upper: try layer(json["upper"]), work: try layer(json["work"]), options: options)
    }

    /// A path that CRIU is told, from the guest's root and in its plainest form.
    private static func place(_ path: String) throws(AgentError) -> String {
        let parts = path.dropFirst().split(separator: "/", omittingEmptySubsequences: false)
        // PATH_MAX; a control character in an argument would only confuse CRIU's log.
        guard path.utf8.count < 4096, path.hasPrefix("/"), !path.utf8.contains(where: { $0 < 0x20 }),
            path == "/" || parts.allSatisfy({ !$0.isEmpty && $0 != "." && $0 != ".." })
        else { throw AgentError(description: "cannot read recovery.json: a mounted path is not in its plainest form") }
        return path
    }
}

extension RecoveryManifest.Socket {
    fileprivate init?(_ json: JSONValue) {
        func number(_ name: String, of json: JSONValue) -> Int32? { json[name]?.integerValue.flatMap { Int32(exactly: $0) } }
        guard let pid = number("pid", of: json), let descriptor = number("descriptor", of: json) else { return nil }
        self.pid = pid
        self.descriptor = descriptor
        options = (json["options"]?.arrayValue ?? []).compactMap { option in
            guard let name = option["name"]?.stringValue, let level = number("level", of: option),
                let kind = number("number", of: option)
            else { return nil }
            let value =
                number("value", of: option).map(Option.Value.number) ?? option["value"]?.stringValue.map(Option.Value.text)
            return value.map { Option(name: name, level: level, number: kind, value: $0) }
        }
    }
}

extension RecoveryManifest.LentFile {
    fileprivate init?(_ json: JSONValue) {
        guard let name = json["name"]?.stringValue, name.hasPrefix("xenpr-lent/"),
            let flags = json["flags"]?.integerValue.flatMap({ Int32(exactly: $0) })
        else { return nil }
        self.name = name
        self.flags = flags
        if let counter = json["semaphore"]?.stringValue.flatMap({ UInt64($0) }) {
            kind = .semaphore(counter: counter)
        } else if let queue = json["queue"].flatMap(Queue.init) {
            kind = .queue(queue)
        } else {
            return nil
        }
    }
}

extension RecoveryManifest.LentFile.Queue {
    fileprivate init?(_ json: JSONValue) {
        guard let name = json["name"]?.stringValue, Self.isPlain(name),
            let inode = json["inode"]?.integerValue.flatMap({ UInt64(exactly: $0) }),
            let limit = json["message_limit"]?.integerValue.flatMap({ Int(exactly: $0) }), limit > 0,
            let bytes = json["message_bytes"]?.integerValue.flatMap({ Int(exactly: $0) }), bytes > 0,
            let contents = json["contents"]?.stringValue.flatMap(GroupName.init)
        else { return nil }
        self.name = name
        isRemoved = json["removed"]?.boolValue ?? false
        self.inode = inode
        mode = UInt32(clamping: json["mode"]?.integerValue ?? 0) & 0o777
        uid = UInt32(clamping: json["uid"]?.integerValue ?? 0)
        gid = UInt32(clamping: json["gid"]?.integerValue ?? 0)
        messageLimit = limit
        messageBytes = bytes
        self.contents = contents
        messages = (json["messages"]?.arrayValue ?? []).map { message in
            Message(
                priority: UInt32(clamping: message["priority"]?.integerValue ?? 0),
                byteCount: Int(clamping: message["bytes"]?.integerValue ?? 0))
        }
    }

    private static func isPlain(_ name: String) -> Bool {
        (1...255).contains(name.utf8.count) && name != "." && name != ".."
            && name.utf8.allSatisfy { 0x21..<0x7f ~= $0 && $0 != UInt8(ascii: "/") }
    }
}

extension RecoveryManifest.Pipe {
    fileprivate init?(_ json: JSONValue) {
        guard let pid = json["pid"]?.integerValue.flatMap({ Int32(exactly: $0) }), pid > 0,
            let descriptor = json["descriptor"]?.integerValue.flatMap({ Int32(exactly: $0) }), descriptor >= 0,
            let contents = json["contents"]?.stringValue.flatMap(GroupName.init)
        else { return nil }
        self.pid = pid
        self.descriptor = descriptor
        self.contents = contents
        pieces = (json["pieces"]?.arrayValue ?? []).map { piece in
            Piece(byteCount: Int(piece["bytes"]?.integerValue ?? 0), isPacket: piece["packet"]?.boolValue ?? false)
        }
    }
}

extension RecoveryManifest.ThreadAttributes {
    fileprivate init?(_ json: JSONValue) {
        guard let tid = json["tid"]?.integerValue.flatMap({ Int32(exactly: $0) }), tid > 0 else { return nil }
        self.tid = tid
        cpus = json["cpus"]?.arrayValue?.compactMap { $0.integerValue.flatMap { Int(exactly: $0) } }
        timerSlackNanoseconds = json["timer_slack_ns"]?.integerValue
        ioPriority = json["io_priority"]?.integerValue.flatMap { Int32(exactly: $0) }
        coredumpFilter = json["coredump_filter"]?.integerValue
    }
}

extension RecoveryManifest.File {
    fileprivate init(_ json: JSONValue) throws(AgentError) {
        guard let path = json["path"]?.stringValue, let size = json["size"]?.integerValue else {
            throw AgentError(description: "cannot read recovery.json: a file has no path or no size")
        }
        self.path = path
        self.size = size
        inode = UInt64(bitPattern: json["inode"]?.integerValue ?? 0)
        mode = UInt32(clamping: json["mode"]?.integerValue ?? 0o600)
        uid = UInt32(clamping: json["uid"]?.integerValue ?? 0)
        gid = UInt32(clamping: json["gid"]?.integerValue ?? 0)
        content = json["content"]?.stringValue
        var extents: [RecoveryManifest.Extent] = []
        for value in json["extents"]?.arrayValue ?? [] {
            let numbers = (value.arrayValue ?? []).compactMap(\.integerValue)
            guard numbers.count == 3 else {
                throw AgentError(description: "cannot read recovery.json: an extent of \(path) is not three numbers")
            }
            extents.append(RecoveryManifest.Extent(fileOffset: numbers[0], length: numbers[1], contentOffset: numbers[2]))
        }
        self.extents = extents
        isHeld = json["held"]?.boolValue ?? true
        links = UInt32(clamping: json["links"]?.integerValue ?? 1)
        isWhole = json["whole"]?.boolValue ?? false
        target = json["target"]?.stringValue
        otherName = json["other_name"]?.stringValue
        modified = json["modified"].flatMap(RecoveryManifest.Time.init)
        accessed = json["accessed"].flatMap(RecoveryManifest.Time.init)
    }
}

extension RecoveryManifest.MemoryMount {
    /// What a tmpfs may be told (shmem_parameters of mm/shmem.c).
    private static let names: Set<Substring> = ["mode", "size", "nr_inodes", "uid", "gid"]

    fileprivate init?(_ json: JSONValue) {
        guard let path = json["path"]?.stringValue, let source = json["source"]?.stringValue, source.utf8.count < 4096,
            !source.utf8.contains(0), let options = json["options"]?.stringValue
        else { return nil }
        let parts = options.split(separator: ",").map { $0.split(separator: "=", maxSplits: 1) }
        guard
            parts.allSatisfy({
                $0.count == 2 && Self.names.contains($0[0]) && $0[1].utf8.allSatisfy { 0x30...0x39 ~= $0 || $0 == 0x6b }
            })
        else { return nil }
        self.path = path
        self.source = source
        self.options = parts.map { (String($0[0]), String($0[1])) }
        flags = UInt64(clamping: json["flags"]?.integerValue ?? 0) & RecoveryManifest.Group.mountFlags
        minor = UInt32(clamping: json["minor"]?.integerValue ?? 0)
    }
}

extension RecoveryManifest.Time {
    fileprivate init?(_ json: JSONValue) {
        guard let seconds = json["seconds"]?.integerValue, let nanoseconds = json["nanoseconds"]?.integerValue,
            (0..<1_000_000_000).contains(nanoseconds)
        else { return nil }
        self.init(seconds: seconds, nanoseconds: nanoseconds)
    }
}
