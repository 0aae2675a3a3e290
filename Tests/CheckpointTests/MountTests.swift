import GuestMemory
import ProcessModel
import Testing

@testable import Checkpoint

@Suite struct MountTests {
    private static let host: UInt32 = 0xf000_0000
    private static let own: UInt32 = 0xf000_0100
    private static let disk: UInt64 = 0x80_0001
    private static let memory: UInt64 = 0x2a

    private static let root = mount(20, below: 1, "ext4", "/", root: "/srv/root", device: disk) {
        $0.guestPath = "/srv/root"
        $0.isOnBlockDevice = true
    }

    private static func mount(
        _ id: Int32, below: Int32, _ type: String, _ point: KernelString, root: KernelString = "/", device: UInt64,
        _ change: (inout Mount) -> Void = { _ in }
    ) -> Mount {
        var mount = Mount(
            id: id, parentID: below, device: device, typeName: type, source: "source", root: root, point: point)
        change(&mount)
        return mount
    }

    private static func namespace(_ more: [Mount] = []) -> MountNamespace {
        let file = MemoryFilesystem.Entry(
            path: "file", kind: .regular, inode: 7, mode: 0o640, uid: 3, gid: 4, sizeBytes: 5000, modifiedSeconds: 9)
        var link = file
        link.path = "link"
        return MountNamespace(
            mounts: [
                root, mount(21, below: 20, "proc", "/proc", device: 0x2b),
                mount(22, below: 20, "tmpfs", "/tmp", device: memory) { $0.options = "size=64k" },
                mount(23, below: 20, "ext4", "/mnt", root: "/home", device: disk) {
                    $0.guestPath = "/home"
                    $0.isOnBlockDevice = true
                    $0.flags = 1
                },
            ] + more,
            memoryFilesystems: [
                memory: MemoryFilesystem(entries: [
                    MemoryFilesystem.Entry(path: "", kind: .directory, inode: 1, mode: 0o1777), file, link,
                    MemoryFilesystem.Entry(path: "null", kind: .characterDevice(major: 1, minor: 3), inode: 8, mode: 0o666),
                ])
            ])
    }

    @Test func watchesHaveTheNamesOfTheNamespace() throws {
        func plan(_ path: KernelString, device: UInt64 = Self.disk, _ more: [Mount] = []) -> GroupPlan {
            var sample = sample(Self.namespace(more))
            let watch = Inotify.Watch(descriptor: 1, path: path, device: device, inode: 7, mask: 2)
            sample.group.openFiles[FileID(rawValue: 6)]?.kind = .inotify(Inotify(watches: [watch], unreadEvents: 0))
            return GroupPlan(sample.group)
        }
        func name(_ plan: GroupPlan) -> KernelString? {
            guard case .inotify(let instance) = plan.group.openFiles[FileID(rawValue: 6)]?.kind else { return nil }
            return instance.watches.first?.path
        }
        #expect(plan("/srv/root/etc/hosts").verdict == .full)
        #expect(name(plan("/srv/root/etc/hosts")) == "/etc/hosts")
        #expect(name(plan("/srv/root")) == "/")
        #expect(name(plan("/home")) == "/mnt")
        #expect(name(plan("/home/user")) == "/mnt/user")
        for path: KernelString in ["/homes", "/etc/hosts", "/srv/rooter", "/srv/root/mnt/hidden"] {
            #expect(plan(path).verdict == .refused, "\(path)")
        }
        #expect(plan("/srv/root/etc/hosts", device: Self.disk + 1).verdict == .refused, "another filesystem")
    }

    @Test func watchesOfWhatTheGuestDoesNotShowAreFoundInTheNamespaces() throws {
        func plan(_ path: KernelString, device: UInt64 = Self.memory, _ more: [Mount] = []) -> GroupPlan {
            var sample = sample(Self.namespace(more))
            var watch = Inotify.Watch(descriptor: 1, path: nil, device: device, inode: 7, mask: 2)
            watch.pathInFilesystem = path
            sample.group.openFiles[FileID(rawValue: 6)]?.kind = .inotify(Inotify(watches: [watch], unreadEvents: 0))
            return GroupPlan(sample.group)
        }
        func watch(_ plan: GroupPlan) -> Inotify.Watch? {
            guard case .inotify(let instance) = plan.group.openFiles[FileID(rawValue: 6)]?.kind else { return nil }
            return instance.watches.first
        }
        #expect(plan("/file").verdict == .full)
        #expect(watch(plan("/file"))?.path == "/tmp/file")
        #expect(watch(plan("/file"))?.mountID == 22)
        #expect(watch(plan("/"))?.path == "/tmp")
        #expect(plan("/file", device: 0x99).verdict == .degraded, "a filesystem that is mounted nowhere")
        let cover = Self.mount(30, below: 22, "sysfs", "/tmp/sub", device: 9)
        #expect(plan("/sub/file", [cover]).verdict == .degraded, "something is mounted over it")
    }

    /// The synthetic group with its worker in a pid and a mount namespace of its own, and all that it has open in there.
    private func sample(_ namespace: MountNamespace? = Self.namespace()) -> SyntheticGroup {
        var sample = SyntheticGroup()
        var host = Namespaces()
        for path in [\Namespaces.pid, \.mount, \.cgroup] { host[keyPath: path] = Self.host }
        sample.group.initNamespaces = host
        for (index, id) in [SyntheticGroup.worker, 2002, SyntheticGroup.dead].enumerated() {
            sample.group.namespacePIDs[id] = [NamespacePID(namespace: Self.own, number: Int32(index + 1))]
        }
        for index in sample.group.processes.indices {
            let pid = sample.group.processes[index].pid
            sample.group.processes[index].namespaces = host
            if pid == SyntheticGroup.keeper {
                sample.group.processes[index].command = "xenpr-keeper"
                continue
            }
            sample.group.processes[index].sessionID = SyntheticGroup.worker
            for path in [\Namespaces.pid, \.mount] where pid == SyntheticGroup.worker {
                sample.group.processes[index].namespaces[keyPath: path] = Self.own
            }
        }
        for id in sample.group.openFiles.keys {
            guard case .path(var node) = sample.group.openFiles[id]?.kind else { continue }
            node.mountID = 20
            sample.group.openFiles[id]?.kind = .path(node)
        }
        for id in sample.group.filesystemContexts.keys {
            sample.group.filesystemContexts[id]?.root.mountID = 20
            sample.group.filesystemContexts[id]?.workingDirectory.mountID = 20
        }
        sample.group.mountNamespaces[Self.own] = namespace
        sample.supply.add(.deletedFile(device: Self.memory, inode: 7), 0x1000, 9)
        return sample
    }

    private func reasons(_ change: (inout SyntheticGroup) -> Void) -> (Verdict, [String]) {
        var sample = sample()
        change(&sample)
        let record = GroupCheckpoint.assess(sample.group)
        return (record.verdict, record.reasons + record.processes.flatMap(\.reasons))
    }

    @Test func mountsAreSavedAndTheAgentIsToldWhatToBind() throws {
        var sample = sample()
        let scratch = ScratchDirectory()
        let record = GroupCheckpoint.save(sample.group, pages: &sample.supply, toVolume: scratch.path)
        let images = "\(scratch.path)/groups/sample/images"
        #expect(record.verdict == .full, "\(record)")
        #expect(record.mountRoot == "/srv/root")
        #expect(record.mounts == [RecoveryManifest.Mount(key: "mount-23", path: "/home")])
        let mounts = try ImageContents(parsing: contents(of: "\(images)/mountpoints-15.img")).entries.map(\.message)
        #expect(mounts.map { $0.number(2) } == [20, 21, 22, 23])
        #expect(mounts.map { $0.number(4) } == [1, 20, 20, 20])
        #expect(mounts.map { $0.number(1) } == [0, 1, 5, 0], "UNSUPPORTED, PROC, TMPFS")
        #expect(mounts[2].data(9) == Array("size=64k".utf8))
        #expect(mounts.map { $0.data(18) } == [nil, nil, nil, Array("mount-23".utf8)])
        // MS_PRIVATE, and MS_RDONLY of the last.
        #expect(mounts.map { $0.number(5) } == [1 << 18, 1 << 18, 1 << 18, 1 << 18 | 1])
        let ids = try ImageContents(parsing: contents(of: "\(images)/ids-1.img")).entries[0].message
        #expect(ids.number(9) == 15)
        // mnt_id, zigzag.
        let files = try ImageContents(parsing: contents(of: "\(images)/files.img")).entries.map(\.message)
        let log = try #require(files.first { $0.number(2) == 3 })
        #expect(try ProtobufFields(parsing: #require(log.data(3))).number(7) == 40)
    }

    @Test func filesystemsThatCRIUDoesNotKnowAreMountedByTheirNames() throws {
        var sample = sample(Self.namespace([Self.mount(30, below: 20, "nfsd", "/proc/fs/nfsd", device: 9)]))
        let scratch = ScratchDirectory()
        let record = GroupCheckpoint.save(sample.group, pages: &sample.supply, toVolume: scratch.path)
        #expect(record.verdict == .full, "\(record)")
        let path = "\(scratch.path)/groups/sample/images/mountpoints-15.img"
        let mount = try #require(try ImageContents(parsing: contents(of: path)).entries.map(\.message).last)
        #expect(mount.number(1) == 16 && mount.data(14) == Array("nfsd".utf8), "AUTO, and the name")
    }

    private static let inner: UInt32 = 4_026_532_900

    /// A child of the init that has made a mount namespace of its own, out of the group's.
    private func withInnerNamespace(_ change: (inout MountNamespace) -> Void = { _ in }) -> SyntheticGroup {
        var sample = sample()
        var copy = Self.namespace()
        for index in copy.mounts.indices {
            copy.mounts[index].id += 40
            if index > 0 { copy.mounts[index].parentID += 40 }
        }
        change(&copy)
        sample.group.mountNamespaces[Self.inner] = copy
        if var child = sample.group.processes.first(where: { $0.pid == SyntheticGroup.worker }) {
            child.pid = 2050
            child.parentPID = SyntheticGroup.worker
            child.threads = [sample.thread(2050)]
            child.posixTimers = []
            child.pendingSignals = []
            child.namespaces.mount = Self.inner
            // Those of the keeper, which does not come back.
            child.addressSpace = AddressSpaceID(rawValue: 1)
            child.descriptorTable = DescriptorTableID(rawValue: 1)
            child.signalActions = SignalActionsID(rawValue: 1)
            // It is in its own namespace.
            let context = FilesystemContextID(rawValue: 9)
            sample.group.filesystemContexts[context] = child.filesystemContext.flatMap { sample.group.filesystemContexts[$0] }
            sample.group.filesystemContexts[context]?.root.mountID = 60
            sample.group.filesystemContexts[context]?.workingDirectory.mountID = 60
            child.filesystemContext = context
            sample.group.namespacePIDs[2050] = [NamespacePID(namespace: Self.own, number: 4)]
            sample.group.processes.append(child)
        }
        return sample
    }

    @Test func aNamespaceMadeWithinTheGroupHasItsOwnMounts() throws {
        var sample = withInnerNamespace()
        let scratch = ScratchDirectory()
        let record = GroupCheckpoint.save(sample.group, pages: &sample.supply, toVolume: scratch.path)
        let images = "\(scratch.path)/groups/sample/images"
        #expect(record.verdict == .full, "\(record)")
        let inner = try ImageContents(parsing: contents(of: "\(images)/mountpoints-16.img")).entries.map(\.message)
        #expect(inner.map { $0.number(2) } == [60, 61, 62, 63])
        #expect(inner[0].number(1) == 0 && inner[0].data(18) == nil, "CRIU binds it out of the group's root")
        #expect(Set(record.mounts.map(\.key)) == ["mount-23", "mount-63"])
        let ids = try ImageContents(parsing: contents(of: "\(images)/ids-1.img")).entries[0].message
        #expect(ids.number(9) == 15)
        let innerIDs = try ImageContents(parsing: contents(of: "\(images)/ids-4.img")).entries[0].message
        #expect(innerIDs.number(9) == 16)
    }

    @Test func aNamespaceWithAnotherRootIsRefused() {
        let sample = withInnerNamespace { $0.mounts[0].device = 99 }
        #expect(GroupCheckpoint.assess(sample.group).verdict == .refused)
    }

    /// In the namespace's own /proc processes have the numbers that they get again; in the guest's, bound into it, they have others.
    @Test func filesOfProcessesComeBackInTheirOwnProc() {
        func verdict(mount: Int32, _ path: KernelString = "/proc/2/maps") -> Verdict {
            reasons { sample in
                var node = FileNode(path: path, type: .regular, mode: 0o100444)
                node.mountID = mount
                sample.group.openFiles[FileID(rawValue: 3)]?.kind = .path(node)
            }.0
        }
        #expect(verdict(mount: 21) == .full)
        #expect(verdict(mount: 23) == .refused)
        #expect(verdict(mount: 21, "/proc/77/maps") == .degraded, "a process that has ended")
    }

    @Test func tmpfsIsAStoredArchive() throws {
        var sample = sample()
        let scratch = ScratchDirectory()
        _ = GroupCheckpoint.save(sample.group, pages: &sample.supply, toVolume: scratch.path)
        let packed = try contents(of: "\(scratch.path)/groups/sample/images/tmpfs-dev-\(Self.memory).tar.gz.img")
        #expect(packed.prefix(3) == [0x1f, 0x8b, 8])
        // One stored block: a byte, its length twice, its bytes; then CRC-32 and length.
        let archive = Array(packed.dropFirst(15).dropLast(8))
        let end: [UInt8] = CRC32.of(archive).littleEndianBytes + UInt32(archive.count).littleEndianBytes
        #expect(Array(packed.suffix(8)) == end)
        #expect(archive.count == 4 * 512 + 5120 + 1024, "four headers, 5000 bytes, the end")
        let header = Array(archive[512..<1024])
        #expect(Array(header.prefix(7)) == Array("./file\0".utf8))
        #expect(Array(header[124..<136]) == Array("00000011610\0".utf8))
        let sum = header.enumerated().reduce(0) { $0 + ((148..<156).contains($1.offset) ? 32 : Int($1.element)) }
        let digits: [UInt8] = Array("0\(String(sum, radix: 8))".utf8)
        #expect(Array(header[148..<154]) == digits)
        #expect(Array(header[154..<156]) == [0, 32])
        // The first page is a hole, of the second 904 bytes are the file's.
        #expect(archive[1024..<1024 + 4096].allSatisfy { $0 == 0 })
        #expect(archive[1024 + 4096] == 9 && archive[1024 + 4097] == 8)
        let link = archive[(1024 + 5120)...].prefix(512)
        #expect(Array(link.dropFirst(156).prefix(7)) == Array("1./file".utf8))
    }

    @Test func longNamesAndLargeNumbersFit() {
        var entry = MemoryFilesystem.Entry(
            path: KernelString(String(repeating: "n", count: 200)), kind: .regular, inode: 1, mode: 0o600)
        entry.uid = 0xffff_fffe
        let blocks = TarHeader.blocks(.regular, entry, size: 1 << 40)
        #expect(blocks.count == 3 * 512)
        #expect(blocks[156] == UInt8(ascii: "L") && blocks[1024 + 156] == UInt8(ascii: "0"))
        #expect(Array(blocks[1024 + 108..<1024 + 116]) == [0x80, 0, 0, 0, 0xff, 0xff, 0xff, 0xfe])
        #expect(blocks[1024 + 124] == 0x80 && blocks[1024 + 130] == 1)
    }

    @Test func whatCannotBeMountedAgainIsSaid() {
        func verdict(_ namespace: MountNamespace?) -> Verdict { GroupCheckpoint.assess(sample(namespace).group).verdict }
        func with(_ mount: Mount) -> MountNamespace { Self.namespace([mount]) }
        #expect(verdict(Self.namespace()) == .full)
        #expect(verdict(nil) == .refused)
        #expect(verdict(with(Self.mount(30, below: 20, "fuse", "/f", device: 9))) == .refused)
        #expect(verdict(with(Self.mount(30, below: 20, "sysfs", "/sys", device: 9))) == .full)
        #expect(verdict(with(Self.mount(30, below: 20, "autofs", "/auto", device: 9))) == .refused)
        var formats = Self.mount(30, below: 20, "binfmt_misc", "/formats", device: 9)
        #expect(verdict(with(formats)) == .full)
        formats.formats = [
            BinaryFormat(name: "wasm", recognition: .fileExtension(Array("wasm".utf8)), interpreter: "/bin/wasm")
        ]
        #expect(verdict(with(formats)) == .full, "the agent registers it")
        formats.unknownFormats = 1
        #expect(verdict(with(formats)) == .degraded)
        let part = Self.mount(30, below: 20, "proc", "/proc/sys", root: "/sys", device: 0x2b)
        #expect(verdict(with(part)) == .full)
        var alone = part
        alone.device = 0x77
        #expect(verdict(with(alone)) == .refused)
        var removed = part
        removed.isDeleted = true
        #expect(verdict(with(removed)) == .full, "it can be made in another mount for a moment")
        removed.device = 0x78
        #expect(verdict(with(removed)) == .refused)
        removed.device = 0x2b
        removed.fileBytes = 7
        #expect(verdict(with(removed)) == .degraded)
        func tmpfs(_ path: KernelString) -> Mount {
            Self.mount(30, below: 20, "tmpfs", "/x", device: 8) { $0.guestPath = path }
        }
        #expect(verdict(with(tmpfs("/dev/shm"))) == .full)
        #expect(verdict(with(tmpfs("/run/service"))) == .full)
        #expect(verdict(with(tmpfs("/srv/memory"))) == .refused, "of which the guest shows a part only")
        var whole = tmpfs("/srv/memory")
        whole.isWhollyInGuest = true
        #expect(verdict(with(whole)) == .full && whole.showsLostMemory, "the agent mounts it again")
        #expect(tmpfs("/run/service").showsLostMemory && !tmpfs("/run").showsLostMemory && !tmpfs("/runner").showsLostMemory)
        #expect(verdict(with(Self.mount(30, below: 20, "tmpfs", "/y", device: 8))) == .refused, "its contents were not read")
        func place(_ path: KernelString) -> Mount {
            Self.mount(30, below: 20, "sysfs", "/sys", device: 9) { $0.guestPath = path }
        }
        #expect(verdict(with(place("/sys"))) == .full)
        for path: KernelString in ["/sys/../etc", "sys", "/sys/", "/a\nb", KernelString(bytes: [0x2f, 0xff])] {
            #expect(verdict(with(place(path))) == .refused, "nothing that the agent would refuse with all of recovery.json")
        }
        #expect(verdict(with(Self.mount(30, below: 20, "proc", "/", device: 0x2b))) == .refused)
        var slave = part
        slave.masterGroup = 5
        #expect(verdict(with(slave)) == .degraded)
        var overlay = Self.namespace()
        overlay.mounts[0].isOnBlockDevice = false
        #expect(verdict(overlay) == .refused)
        overlay.mounts[0].typeName = "overlay"
        overlay.mounts[0].root = "/"
        overlay.mounts[0].overlay = OverlayLayers()
        overlay.mounts[0].overlay?.lower = ["/srv/lower"]
        #expect(verdict(overlay) == .full)
        #expect(GroupCheckpoint.assess(sample(overlay).group).overlay?.lower == ["/srv/lower"])
        overlay.mounts[0].guestPath = nil
        #expect(GroupCheckpoint.assess(sample(overlay).group).mountRoot == "/run/xenpr/roots/sample")
        overlay.mounts[0].overlay?.lower = ["/srv/../lower"]
        #expect(verdict(overlay) == .refused)
        #expect(GroupCheckpoint.assess(sample(overlay).group).overlay == nil, "nothing that the agent would refuse")
        overlay.mounts[0].overlay?.lower = ["/srv/lower"]
        overlay.mounts[0].overlay?.problem = "a layer is in memory"
        #expect(verdict(overlay) == .refused)
        var locked = Self.namespace()
        locked.mounts[0].flags = 1
        #expect(verdict(locked) == .full)
        #expect(GroupCheckpoint.assess(sample(locked).group).mountRootFlags == 1, "the agent makes it read-only")
        var bound = Self.namespace()
        bound.mounts[3].masterGroup = 5
        bound.mounts[3].guestGroup = 5
        #expect(verdict(bound) == .full, "the guest's mount becomes its master again")
        bound.mounts[3].sharedGroup = 5
        #expect(verdict(bound) == .degraded)
        var socket = Self.namespace()
        socket.memoryFilesystems[Self.memory]?.entries[1].hasAttributes = true
        #expect(verdict(socket) == .degraded)
        socket = Self.namespace()
        socket.memoryFilesystems[Self.memory]?.entries[3].kind = .socket
        #expect(verdict(socket) == .degraded)
        socket.memoryFilesystems[Self.memory]?.entries[1].sizeBytes = 1 << 50
        #expect(verdict(socket) == .refused)
    }

    @Test func whatIsOpenHasToBeInTheNamespace() {
        func open(_ mount: Int32?, _ type: FileNode.FileType = .regular) -> (inout SyntheticGroup) -> Void {
            { sample in
                var node = FileNode(path: "/place", type: type, mode: 0o100644)
                node.mountID = mount
                sample.group.openFiles[FileID(rawValue: 3)]?.kind = .path(node)
            }
        }
        #expect(reasons(open(22)).0 == .full)
        #expect(reasons(open(99)).1.contains("/place is open in a mount namespace that is not the group's"))
        #expect(reasons(open(nil)).0 == .refused)
        #expect(reasons(open(nil, .characterDevice(major: 1, minor: 3))).0 == .full)
        // Also for a group that is in the guest's.
        var outside = SyntheticGroup()
        open(20)(&outside)
        #expect(GroupCheckpoint.assess(outside.group).verdict == .refused)
    }

    @Test func withoutAPIDNamespaceItIsRefused() {
        let (verdict, reasons) = reasons { $0.group.namespacePIDs = [:] }
        #expect(verdict == .refused)
        #expect(
            reasons.contains("it is in a mount namespace of its own, which comes back only with a pid namespace of its own"))
    }

    @Test func cgroupNamespaceHasTheGroupsCgroupAsItsRoot() {
        func record(_ root: KernelString?) -> RecoveryManifest.Group {
            var sample = sample()
            for index in sample.group.processes.indices where sample.group.processes[index].pid == SyntheticGroup.worker {
                sample.group.processes[index].namespaces.cgroup = Self.own
            }
            sample.group.cgroupNamespaces[Self.own] = root
            sample.group.cgroups = ["/xenpr/sample", "/xenpr/sample/inner"].map { ControlGroup(path: $0) }
            return GroupCheckpoint.assess(sample.group)
        }
        #expect(record("/xenpr/sample").verdict == .full)
        #expect(record("/xenpr/sample").cgroupRoot == "")
        #expect(record("/xenpr/sample/inner").verdict == .full)
        #expect(record("/xenpr/sample/inner").cgroupRoot == "inner")
        #expect(record("/xenpr/sample/unread").verdict == .degraded)
        #expect(record("/xenpr/sample/unread").cgroupRoot == "")
        #expect(record(nil).verdict == .refused)
    }

    private func plan(_ namespace: MountNamespace, cgroup: KernelString? = nil) -> MountPlan {
        MountPlan(namespace, in: [namespace], isRoot: true, cgroup: cgroup)
    }

    @Test func cgroupsAreMountedAnewInTheirNamespace() {
        let mount = Self.mount(30, below: 20, "cgroup2", "/sys/fs/cgroup", root: "/xenpr/sample", device: 9) {
            $0.guestPath = "/sys/fs/cgroup/xenpr/sample"
        }
        #expect(plan(Self.namespace([mount])).treatments.last == .guest)
        let own = plan(Self.namespace([mount]), cgroup: "/xenpr/sample")
        #expect(own.treatments.last == .new)
        #expect(own.external.map(\.key) == ["mount-23"])
    }

    @Test func manifestKeepsWhatTheAgentNeeds() throws {
        var sample = sample()
        let scratch = ScratchDirectory()
        let record = GroupCheckpoint.save(sample.group, pages: &sample.supply, toVolume: scratch.path)
        var manifest = RecoveryManifest(
            id: "r", guest: "main", kernel: "6.1", cause: "panic", crashedAt: 1, salvagedBy: .control)
        manifest.groups = [record]
        #expect(try RecoveryManifest(parsing: manifest.json.bytes(.pretty)).groups == [record])
    }
}
