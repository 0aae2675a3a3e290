import GuestMemory
import ProcessModel
import Testing

@testable import Checkpoint

@Suite struct NamespaceTests {
    private static let host: UInt32 = 0xf000_0000
    private static let own: UInt32 = 0xf000_0100

    /// The synthetic group with a keeper in the guest's namespaces and its worker in others.
    private func sample(_ change: (inout Namespaces) -> Void) -> SyntheticGroup {
        var sample = SyntheticGroup()
        var host = Namespaces()
        for path in [\Namespaces.uts, \.ipc, \.pid, \.time, \.network, \.mount, \.user] { host[keyPath: path] = Self.host }
        sample.group.initNamespaces = host
        for index in sample.group.processes.indices where sample.group.processes[index].pid != SyntheticGroup.dead {
            sample.group.processes[index].namespaces = host
            if sample.group.processes[index].pid == SyntheticGroup.keeper {
                sample.group.processes[index].command = "xenpr-keeper"
            } else {
                change(&sample.group.processes[index].namespaces)
            }
        }
        return sample
    }

    private func permissions(_ id: Int32) -> IPCPermissions {
        IPCPermissions(id: id, key: 0x1000 + id, uid: 5, gid: 6, creatorUID: 5, creatorGID: 6, mode: 0o640)
    }

    private func withIPC() -> SyntheticGroup {
        var sample = sample { $0.ipc = Self.own }
        var namespace = IPCNamespace()
        namespace.semaphoreLimits = [32000, 1_024_000_000, 500, 32000]
        namespace.messageLimits = [8192, 16384, 32000]
        namespace.largestSegment = 1 << 40
        namespace.segmentPages = 1 << 40
        namespace.segmentCount = 4096
        namespace.segments = [
            SharedSegment(permissions: permissions(1), sizeBytes: 8192, memory: SharedMemoryID(rawValue: 1))
        ]
        namespace.messageQueues = [
            MessageQueue(
                permissions: permissions(3), limitBytes: 16384,
                messages: [.init(type: 7, bytes: Array("twelve bytes".utf8)), .init(type: 8, bytes: [])])
        ]
        namespace.semaphoreSets = [SemaphoreSet(permissions: permissions(4), values: [1, 2, 0x304], undoers: 0)]
        sample.group.ipcNamespaces[Self.own] = namespace
        return sample
    }

    private func images(_ sample: inout SyntheticGroup) throws -> (RecoveryManifest.Group, ScratchDirectory, String) {
        let scratch = ScratchDirectory()
        let record = GroupCheckpoint.save(sample.group, pages: &sample.supply, toVolume: scratch.path)
        return (record, scratch, "\(scratch.path)/groups/sample/images")
    }

    @Test func hostNameComesBackForAllButNotInTheGuestsNamespace() throws {
        var sample = sample { $0.uts = Self.own }
        sample.group.utsNamespaces[Self.own] = UTSNamespace(nodeName: "container", domainName: "example.test")
        let (record, scratch, images) = try images(&sample)
        defer { _ = scratch }
        #expect(record.verdict == .full, "\(record)")
        let uts = try ImageContents(parsing: contents(of: "\(images)/utsns-14.img"))
        #expect(uts.entries[0].message.data(1) == Array("container".utf8))
        let inventory = try ImageContents(parsing: contents(of: "\(images)/inventory.img"))
        let root = try ProtobufFields(parsing: #require(inventory.entries[0].message.data(3)))
        #expect(root.number(8) == 4 && root.number(7) == 3)
        for pid in [SyntheticGroup.keeper, SyntheticGroup.worker] {
            let ids = try ImageContents(parsing: contents(of: "\(images)/ids-\(pid).img")).entries[0].message
            #expect(ids.number(8) == 14 && ids.number(7) == 3, "the whole tree is in one namespace")
        }
    }

    @Test func systemVObjectsAreSaved() throws {
        var sample = withIPC()
        let (record, scratch, images) = try images(&sample)
        defer { _ = scratch }
        #expect(record.verdict == .full, "\(record)")
        let segments = try ImageContents(parsing: contents(of: "\(images)/ipcns-shm-13.img"))
        #expect(segments.entries.map { $0.message.number(2) } == [8192])
        // Its pages, and those of the anonymous mapping of the same number, are in files of their own.
        #expect(names(in: images).contains("pagemap-shmem-1.img"))
        #expect(names(in: images).contains("pagemap-shmem-2147483649.img"))
        let queues = try contents(of: "\(images)/ipcns-msg-13.img")
        #expect(queues.ranges(of: Array("twelve bytes".utf8) + [0, 0, 0, 0]).count == 1, "filled to words of 8 bytes")
        let sets = try contents(of: "\(images)/ipcns-sem-13.img")
        #expect(Array(sets.suffix(8)) == [1, 0, 2, 0, 4, 3, 0, 0])
    }

    @Test func whatCannotBeMadeAgainIsSaid() {
        func verdict(_ change: (inout IPCNamespace) -> Void) -> Verdict {
            var sample = withIPC()
            guard var namespace = sample.group.ipcNamespaces[Self.own] else { return .refused }
            change(&namespace)
            sample.group.ipcNamespaces[Self.own] = namespace
            return GroupCheckpoint.assess(sample.group).verdict
        }
        #expect(verdict { _ in } == .full)
        #expect(verdict { $0.semaphoreSets[0].undoers = 1 } == .degraded)
        #expect(verdict { $0.segments[0].permissions.mode |= 0o1000 } == .degraded)
        #expect(verdict { $0.segments[0].hugePageBytes = 2 << 20 } == .degraded, "a new one is as large as its pages")
        #expect(verdict { $0.messageQueues[0].limitBytes = 99 } == .degraded)
        #expect(verdict { $0.messageQueues[0].messages[0].bytes = Array(repeating: 1, count: 8193) } == .refused)
        #expect(
            verdict { $0.messageQueues[0].messages += Array(repeating: .init(type: 1, bytes: [1]), count: 16384) } == .refused)
        #expect(verdict { $0.segments[0].permissions.creatorUID = 9 } == .degraded)
        #expect(verdict { $0.posixQueues = 1 } == .degraded)
    }

    /// CRIU sets the limits before it makes what was there when they were lowered.
    @Test func whatIsBeyondLoweredLimitsIsRefused() throws {
        let namespace = try #require(withIPC().group.ipcNamespaces[Self.own])
        #expect(IPCAssessment.obstacles(of: namespace).isEmpty)
        let changes: [(setting: String, allowed: (inout IPCNamespace) -> Void, lowered: (inout IPCNamespace) -> Void)] = [
            ("shmmax", { $0.largestSegment = 8192 }, { $0.largestSegment = 8191 }),
            ("shmall", { $0.segmentPages = 2 }, { $0.segmentPages = 1 }),
            ("shmmni", { $0.segmentCount = 1 }, { $0.segmentCount = 0 }),
            ("msgmax", { $0.messageLimits[0] = 12 }, { $0.messageLimits[0] = 11 }),
            ("msgmni", { $0.messageLimits[2] = 1 }, { $0.messageLimits[2] = 0 }),
            ("SEMMSL", { $0.semaphoreLimits[0] = 3 }, { $0.semaphoreLimits[0] = 2 }),
            ("SEMMNS", { $0.semaphoreLimits[1] = 3 }, { $0.semaphoreLimits[1] = .max }),
            ("SEMMNI", { $0.semaphoreLimits[3] = 1 }, { $0.semaphoreLimits[3] = 0 }),
        ]
        for change in changes {
            var fitting = namespace
            change.allowed(&fitting)
            #expect(IPCAssessment.obstacles(of: fitting).isEmpty, "\(change.setting)")
            var lowered = namespace
            change.lowered(&lowered)
            let obstacles = IPCAssessment.obstacles(of: lowered)
            #expect(obstacles.map(\.severity) == [.refused], "\(change.setting)")
            #expect(obstacles.first?.reason.contains(change.setting) == true, "\(obstacles)")
        }
        var many = namespace
        many.largestSegment = .max
        many.segmentPages = 1 << 54
        many.segments[0].sizeBytes = .max
        many.segments += Array(repeating: many.segments[0], count: 4095)
        #expect(IPCAssessment.obstacles(of: many).map(\.severity) == [.refused], "their pages do not overflow")
    }

    @Test func segmentsOutliveTheirRestore() throws {
        var namespace = try #require(withIPC().group.ipcNamespaces[Self.own])
        namespace.removesUnusedSegments = true
        #expect(IPCAssessment.obstacles(of: namespace).map(\.severity) == [.degraded])
        #expect(try ProtobufFields(parsing: NamespaceImage.variables(namespace).bytes).number(9) == 0)
        namespace.segments = []
        #expect(IPCAssessment.obstacles(of: namespace).isEmpty)
        #expect(try ProtobufFields(parsing: NamespaceImage.variables(namespace).bytes).number(9) == 1)
    }

    @Test func attachmentsAreWholeOrRefused() throws {
        let pages: UInt64 = 2 * 4096
        func record(_ pieces: [(start: UInt64, offset: UInt64, length: UInt64)], namespace: UInt32 = Self.own)
            -> RecoveryManifest.Group
        {
            var sample = withIPC()
            let id = AddressSpaceID(rawValue: 2)
            let kind = Mapping.Kind.systemVSharedMemory(
                SharedMemoryID(rawValue: 1), id: 1, namespace: namespace, isWritable: true)
            sample.group.addressSpaces[id]?.mappings += pieces.map { piece in
                Mapping(
                    start: VirtualAddress(piece.start), end: VirtualAddress(piece.start + piece.length),
                    offsetBytes: piece.offset, protection: 3, kind: kind)
            }
            sample.group.addressSpaces[id]?.mappings.sort { $0.start < $1.start }
            return GroupCheckpoint.assess(sample.group)
        }
        let place: UInt64 = 0x7ffd_0000_0000
        #expect(record([(place, 0, pages)]).verdict == .full)
        #expect(record([(place, 0, 4096), (place + 4096, 4096, 4096)]).verdict == .full)
        #expect(record([(place, 0, pages), (place + pages, 0, pages)]).verdict == .full)
        #expect(record([(place, 0, 4096)]).verdict == .refused)
        #expect(record([(place, 4096, 4096)]).verdict == .refused)
        #expect(record([(place, 0, 4096), (place + 8192, 4096, 4096)]).verdict == .refused)
        // A segment of the guest's own namespace loses its id.
        #expect(record([(place, 0, pages)], namespace: Self.host).verdict == .degraded)
    }

    @Test func membersInDifferentNamespacesAreRefused() {
        var sample = sample { $0.uts = Self.own }
        sample.group.utsNamespaces[Self.own] = UTSNamespace(nodeName: "container", domainName: "")
        sample.group.processes[1].command = "no keeper"
        let record = GroupCheckpoint.assess(sample.group)
        #expect(record.verdict == .refused)
        #expect(record.processes[1].reasons == ["it is in a uts namespace that not all of its group are in"])
    }

    @Test func unreadableNamespaceIsRefused() {
        #expect(GroupCheckpoint.assess(sample { $0.uts = Self.own }.group).verdict == .refused)
        #expect(GroupCheckpoint.assess(sample { $0.ipc = Self.own }.group).verdict == .refused)
        #expect(GroupCheckpoint.assess(sample { $0.time = Self.own }.group).verdict == .refused)
        #expect(GroupCheckpoint.assess(sample { $0.network = Self.own }.group).verdict == .refused)
        #expect(GroupCheckpoint.assess(sample { $0.mount = Self.own }.group).verdict == .refused)
        #expect(GroupCheckpoint.assess(sample { $0.user = Self.own }.group).verdict == .refused)
        #expect(GroupCheckpoint.assess(sample { _ in }.group).verdict == .full)
    }

    @Test func clocksAreThoseOfTheTimeNamespace() throws {
        var sample = sample { $0.time = Self.own }
        sample.group.timeNamespaces[Self.own] = TimeNamespace(
            monotonicOffset: 100_000_000_007, boottimeOffset: -1_000_000_001)
        let (record, scratch, images) = try images(&sample)
        defer { _ = scratch }
        #expect(record.verdict == .full, "\(record)")
        let clocks = try ImageContents(parsing: contents(of: "\(images)/timens-0.img")).entries[0].message
        let times = try [UInt32(1), 2].map { try ProtobufFields(parsing: #require(clocks.data($0))) }
        // 22.5 s and 23.000000001 s by the guest's clocks.
        #expect(times.map { $0.number(1) } == [122, 22] && times.map { $0.number(2) } == [500_000_007, 0])
    }

    private func withPIDs() -> SyntheticGroup {
        var sample = sample { $0.pid = Self.own }
        for (index, id) in [SyntheticGroup.worker, 2002, SyntheticGroup.dead].enumerated() {
            sample.group.namespacePIDs[id] = [NamespacePID(namespace: Self.own, number: Int32(index + 1))]
        }
        for index in sample.group.processes.indices where sample.group.processes[index].pid != SyntheticGroup.keeper {
            sample.group.processes[index].sessionID = SyntheticGroup.worker
        }
        return sample
    }

    @Test func pidNamespaceHasItsInitAsRootAndItsOwnIDs() throws {
        var sample = withPIDs()
        sample.group.openFiles[FileID(rawValue: 4)]?.owner.pid = 2002
        sample.group.openFiles[FileID(rawValue: 5)]?.owner.pid = UInt32(SyntheticGroup.keeper)
        let (record, scratch, images) = try images(&sample)
        defer { _ = scratch }
        #expect(record.verdict == .full, "\(record)")
        #expect(record.hasPIDNamespace && record.rootPID == 1)
        #expect(record.processes.map(\.pid) == [1, 3])
        let tree = try ImageContents(parsing: contents(of: "\(images)/pstree.img"))
        #expect(tree.entries.map { $0.message.number(1) } == [1, 3])
        #expect(tree.entries.map { $0.message.number(2) } == [0, 1])
        #expect(tree.entries[0].message.numbers(5) == [1, 2])
        #expect(names(in: images).contains("core-2.img") && !names(in: images).contains("core-2000.img"))
        let ids = try ImageContents(parsing: contents(of: "\(images)/ids-1.img")).entries[0].message
        #expect(ids.number(5) == 11)
        let plan = PIDNamespace(sample.group)
        #expect(plan.group.openFiles[FileID(rawValue: 4)]?.owner.pid == 2)
        #expect(plan.group.openFiles[FileID(rawValue: 5)]?.owner.pid == 0)
    }

    @Test func pidNamespaceThatIsNotWholeIsRefused() {
        var stranger = withPIDs()
        stranger.group.processes[1].command = "unshare"
        #expect(GroupCheckpoint.assess(stranger.group).verdict == .refused)
        var headless = withPIDs()
        headless.group.namespacePIDs[SyntheticGroup.worker]?[0].number = 7
        #expect(GroupCheckpoint.assess(headless.group).verdict == .refused)
        var session = withPIDs()
        session.group.processes[0].sessionID = 1500
        #expect(GroupCheckpoint.assess(session.group).verdict == .refused)
        var file = withPIDs()
        file.group.openFiles[FileID(rawValue: 3)]?.kind = .path(
            FileNode(path: "/proc/2001/stat", type: .regular, mode: 0o100444))
        #expect(GroupCheckpoint.assess(file.group).verdict == .refused)
    }
}
