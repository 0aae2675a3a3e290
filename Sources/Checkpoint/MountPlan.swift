import ProcessModel

/// How each mount of a group's own mount namespace is made again, and what is lost by it.
struct MountPlan: Sendable {
    enum Treatment: Sendable, Hashable {
        /// The directory of the guest that CRIU is told as `--root`.
        case root
        /// CRIU mounts the filesystem anew; a tmpfs with its contents.
        case new
        /// CRIU binds it from another mount of the namespace.
        case bind
        /// CRIU binds it from what the guest has at `guestPath`, which it is told as `--external`.
        case guest
    }

    let namespace: MountNamespace
    private(set) var treatments: [Treatment] = []
    private(set) var obstacles: [Obstacle] = []

    /// Filesystems that the guest has at the same place after a reboot, or that show the same everywhere.
    private static let ofTheKernel: Set<String> = [
        "sysfs", "proc", "devtmpfs", "devpts", "mqueue", "cgroup", "cgroup2", "debugfs", "tracefs", "securityfs", "pstore",
        "bpf",
        "configfs", "fusectl", "hugetlbfs", "binfmt_misc", "efivarfs",
    ]
    /// Filesystems that CRIU mounts anew.
    private static let remade: [String: UInt32] = [
        "proc": 1, "sysfs": 2, "devtmpfs": 3, "binfmt_misc": 4, "tmpfs": 5, "devpts": 6, "pstore": 8, "securityfs": 9,
        "fusectl": 10, "debugfs": 11, "mqueue": 14, "tracefs": 19, "cgroup2": 23,
        "configfs": byName, "efivarfs": byName, "nfsd": byName,
    ]
    /// AUTO of images/mnt.proto: what CRIU knows nothing of but its name.
    private static let byName: UInt32 = 16
    /// The most contents of tmpfs's that are saved.
    private static let memoryLimit: UInt64 = 1 << 30

    /// The cgroup that is the root of the group's own cgroup namespace; nil: it has none.
    private let cgroup: KernelString?

    /// The mounts of all namespaces of the group.
    private let all: [Mount]

    /// - Parameters:
    ///   - namespaces: all that the group has, that of its root first.
    ///   - isRoot: whether it is that of the root.
    ///   - sockets: names that unix sockets of the group are bound to.
    init(
        _ namespace: MountNamespace, in namespaces: [MountNamespace], isRoot: Bool, cgroup: KernelString? = nil,
        sockets: Set<KernelString> = []
    ) {
        self.namespace = namespace
        self.cgroup = cgroup
        all = namespaces.flatMap(\.mounts)
        for (index, mount) in namespace.mounts.enumerated() {
            treatments.append(index > 0 ? treatment(of: mount) : isRoot ? root(mount) : innerRoot(mount, in: namespaces.first))
        }
        if namespace.mounts.isEmpty { refuse("its mount namespace could not be read") }
        assessPropagation()
        assessMemory(sockets)
    }

    private mutating func refuse(_ reason: String) { obstacles.append(Obstacle(.refused, pid: nil, reason: reason)) }
    private mutating func degrade(_ reason: String) { obstacles.append(Obstacle(.degraded, pid: nil, reason: reason)) }

    private mutating func root(_ mount: Mount) -> Treatment {
        if let overlay = mount.overlay {
            let places = overlay.lower + [overlay.upper, overlay.work, mount.guestPath].compactMap { $0 }
            if let problem = overlay.problem {
                refuse("the root of its mount namespace is an overlay that cannot be made again: \(problem)")
            } else if !places.allSatisfy(Self.isPlain) || mount.root.bytes != [UInt8(ascii: "/")] || mount.isDeleted {
                refuse("the root of its mount namespace is an overlay whose places the agent cannot be told")
            }
            return .root
        }
        if !(mount.guestPath.map(Self.isPlain) ?? false) || !mount.isOnBlockDevice || mount.isDeleted {
            refuse("the root of its mount namespace is \(Self.words(mount.typeName)) that nobody mounts again")
        }
        return .root
    }

    /// The root of a namespace that was made within the group: a filesystem of its own, as a sandbox pivots into a tmpfs, or a place that the root's namespace shows too, from which CRIU binds it.
    private mutating func innerRoot(_ mount: Mount, in outer: MountNamespace?) -> Treatment {
        if mount.guestPath == nil, !mount.isDeleted, mount.root.bytes == [UInt8(ascii: "/")], Self.remade[mount.typeName] != nil
        {
            return .new
        }
        let isKnown = (outer?.mounts ?? []).contains { known in
            known.device == mount.device
                && (known.root == mount.root || known.root.bytes == [UInt8(ascii: "/")]
                    || mount.root.bytes.starts(with: known.root.bytes + [UInt8(ascii: "/")]))
        }
        if !isKnown || mount.isDeleted {
            refuse("the root of a mount namespace within it is \(Self.words(mount.typeName)) that its own does not show")
        }
        return .bind
    }

    private mutating func treatment(of mount: Mount) -> Treatment {
        let words = "\(mount.point) in its mount namespace"
        // CRIU takes what is mounted there for the root (collect_mnt_from_image of criu/mount.c).
        if mount.point.bytes == [UInt8(ascii: "/")] { refuse("something is mounted over the root of its mount namespace") }
        if mount.isDeleted {
            // CRIU makes it in another mount of the filesystem, binds it, and removes it again (do_bind_mount_v2 of criu/mount-v2.c).
            if !all.contains(where: { Self.shows(mount, $0) }) {
                refuse("what is mounted at \(words) was removed, and no other mount leads there")
            }
            if (mount.fileBytes ?? 0) > 0 { degrade("the file that is mounted at \(words) was removed; it is empty now") }
            return .bind
        }
        // In a cgroup namespace a mount has the namespace's root as its own.
        if mount.typeName == "cgroup2", mount.root == cgroup { return .new }
        let lost = mount.unknownFormats + mount.formats.count { $0.registration == nil || !$0.name.isValidUTF8 }
        if lost > 0 { degrade("\(lost) formats are no longer registered at \(words) (binfmt_misc)") }
        if let path = mount.guestPath {
            if !Self.isPlain(path) { refuse("\(words) shows \(path), which the agent cannot be told") }
            if mount.typeName == "tmpfs", !Mount.memoryOfTheGuest.contains(path), !mount.showsLostMemory {
                refuse("\(words) shows \(path), which is in the guest's memory alone")
            } else if mount.typeName != "tmpfs", !mount.isOnBlockDevice, !Self.ofTheKernel.contains(mount.typeName) {
                refuse("\(words) shows \(path), \(Self.words(mount.typeName)) that nobody mounts again")
            }
            return .guest
        }
        guard Self.remade[mount.typeName] != nil else {
            refuse("\(words) is \(Self.words(mount.typeName)) that cannot be mounted again")
            return .new
        }
        if mount.root.bytes == [UInt8(ascii: "/")] { return .new }
        if !all.contains(where: { $0.device == mount.device && $0.root.bytes == [UInt8(ascii: "/")] }) {
            refuse("\(words) shows a part of \(Self.words(mount.typeName)) that is mounted nowhere")
        }
        return .bind
    }

    /// Whether another mount, that is made first, leads to what a mount shows.
    private static func shows(_ mount: Mount, _ other: Mount) -> Bool {
        guard other.id != mount.id, other.device == mount.device, !other.isDeleted, other.fileBytes == nil else { return false }
        let root = other.root.bytes == [UInt8(ascii: "/")] ? [] : other.root.bytes
        return mount.root.bytes.starts(with: root + [UInt8(ascii: "/")])
    }

    /// Whether the manifest can hold a path: UTF-8 in its plainest form.
    private static func isPlain(_ path: KernelString) -> Bool {
        let parts = path.bytes.dropFirst().split(separator: UInt8(ascii: "/"), omittingEmptySubsequences: false)
        let isRoot = path.bytes == [UInt8(ascii: "/")]
        return path.isValidUTF8 && path.bytes.first == UInt8(ascii: "/") && path.bytes.count < 4096
            && !path.bytes.contains { $0 < 0x20 }
            && (isRoot || parts.allSatisfy { !$0.isEmpty && $0.count <= 255 && $0 != [0x2e] && $0 != [0x2e, 0x2e] })
    }

    private static func words(_ type: String) -> String { "a filesystem (\(type))" }

    /// MS_* that the agent gives the root, which CRIU leaves as the guest has it.
    var rootFlags: UInt64? {
        namespace.root.flatMap { $0.flags == $0.guestFlags ? nil : $0.flags }
    }

    /// Whether the mount has its master again: one in its namespace, or that of the guest which it is bound from.
    private func hasMaster(_ mount: Mount) -> Bool {
        guard mount.masterGroup != 0 else { return false }
        return mount.guestGroup == mount.masterGroup
            || all.contains { $0.sharedGroup == mount.masterGroup }
    }

    private mutating func assessPropagation() {
        for mount in namespace.mounts where mount.sharedGroup != 0 && mount.sharedGroup == mount.guestGroup {
            degrade("what is mounted below \(mount.point) in its mount namespace does not appear in the guest any more")
        }
        let orphans = namespace.mounts.filter { $0.masterGroup != 0 && !hasMaster($0) }
        guard !orphans.isEmpty else { return }
        let names = orphans.prefix(3).map { "\($0.point)" }.joined(separator: ", ") + (orphans.count > 3 ? ", …" : "")
        degrade("what the guest mounts later does not appear in its mount namespace any more (\(names))")
    }

    private mutating func assessMemory(_ sockets: Set<KernelString>) {
        var bytes: UInt64 = 0
        for mount in namespace.mounts where mount.typeName == "tmpfs" && mount.guestPath == nil {
            guard let contents = namespace.memoryFilesystems[mount.device] else {
                refuse("the contents of \(mount.point) in its mount namespace could not be read")
                continue
            }
            for entry in contents.entries {
                if entry.kind == .regular { bytes = bytes.addingReportingOverflow(entry.sizeBytes).partialValue }
                let name = KernelString(bytes: mount.point.bytes + [UInt8(ascii: "/")] + entry.path.bytes)
                if entry.hasAttributes { degrade("\(name) in its mount namespace has no extended attributes any more") }
                if entry.kind == .socket, !sockets.contains(name) {
                    degrade("\(name) in its mount namespace, a socket of nobody in the group, is gone")
                }
            }
            if bytes > Self.memoryLimit || contents.entries.contains(where: { $0.sizeBytes > Self.memoryLimit }) {
                refuse("more than \(Self.memoryLimit >> 20) MiB are on tmpfs in its mount namespace")
                return
            }
        }
    }

    // MARK: - Images

    /// `mnt_entry` of images/mnt.proto for each mount.
    var messages: [ProtobufMessage] { zip(namespace.mounts, treatments).map { message(of: $0, $1) } }

    /// What the agent tells CRIU to bind, by the key in the images.
    var external: [(key: String, path: KernelString)] {
        zip(namespace.mounts, treatments).compactMap { mount, treatment in
            treatment == .guest ? mount.guestPath.map { (Self.key(mount), $0) } : nil
        }
    }

    /// Filesystems in memory that are mounted anew, by device; CRIU looks for the contents of each under that number.
    var memoryDevices: [UInt64] {
        let devices = zip(namespace.mounts, treatments).filter { $0.0.typeName == "tmpfs" && $0.1 == .new }.map(\.0.device)
        return Set(devices).sorted()
    }

    /// All that are mounted anew.
    var newDevices: Set<UInt64> {
        Set(zip(namespace.mounts, treatments).filter { $0.1 == .new }.map(\.0.device))
    }

    private static func key(_ mount: Mount) -> String { "mount-\(mount.id)" }

    private func message(of mount: Mount, _ treatment: Treatment) -> ProtobufMessage {
        // UNSUPPORTED does no harm to what is bound.
        let type = treatment == .new || treatment == .bind ? Self.remade[mount.typeName] ?? 0 : 0
        return ProtobufMessage { entry in
            entry.unsigned(1, type)
            entry.unsigned(2, UInt32(bitPattern: mount.id))
            entry.unsigned(3, UInt32(truncatingIfNeeded: mount.device))
            entry.unsigned(4, UInt32(bitPattern: mount.parentID))
            entry.unsigned(5, UInt32(truncatingIfNeeded: flags(of: mount)))
            entry.data(6, treatment == .new ? [UInt8(ascii: "/")] : mount.root.bytes)
            entry.data(7, mount.point.bytes)
            entry.data(8, mount.source.bytes)
            entry.string(9, treatment == .new || treatment == .bind ? mount.options : "")
            entry.unsigned(10, UInt32(bitPattern: mount.sharedGroup))
            entry.unsigned(11, UInt32(bitPattern: hasMaster(mount) ? mount.masterGroup : 0))
            if type == Self.byName { entry.string(14, mount.typeName) }
            if mount.isDeleted { entry.flag(16, true) }
            entry.unsigned(17, UInt32(truncatingIfNeeded: mount.filesystemFlags))
            if treatment == .guest { entry.string(18, Self.key(mount)) }
        }
    }

    /// With MS_SHARED, MS_SLAVE, MS_UNBINDABLE or MS_PRIVATE.
    private func flags(of mount: Mount) -> UInt64 {
        var propagation: UInt64 = 0
        if mount.sharedGroup != 0 { propagation |= 1 << 20 }
        if hasMaster(mount) { propagation |= 1 << 19 }
        if mount.isUnbindable { propagation |= 1 << 17 }
        return mount.flags | (propagation == 0 ? 1 << 18 : propagation)
    }
}
