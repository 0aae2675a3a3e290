import GuestMemory
import ProcessModel
import Testing

@testable import Checkpoint

@Suite struct UserNamespaceTests {
    private static let host: UInt32 = 0xf000_0000
    private static let own: UInt32 = 0xf000_0100
    private static let pids: UInt32 = 0xf000_0200
    /// Number 0 in the namespace.
    private static let root: UInt32 = 100_000

    /// The synthetic group with its worker in a pid and a user namespace of its own, and all that it has belonging to the namespace's users.
    private func sample(_ change: (inout UserNamespace) -> Void = { _ in }) -> SyntheticGroup {
        var sample = SyntheticGroup()
        var host = Namespaces()
        for path in [\Namespaces.pid, \.user, \.network, \.uts] { host[keyPath: path] = Self.host }
        sample.group.initNamespaces = host
        for (index, id) in [SyntheticGroup.worker, 2002, SyntheticGroup.dead].enumerated() {
            sample.group.namespacePIDs[id] = [NamespacePID(namespace: Self.pids, number: Int32(index + 1))]
        }
        for index in sample.group.processes.indices {
            sample.group.processes[index].namespaces = host
            if sample.group.processes[index].pid == SyntheticGroup.keeper {
                sample.group.processes[index].command = "xenpr-keeper"
                continue
            }
            sample.group.processes[index].sessionID = SyntheticGroup.worker
            sample.group.processes[index].namespaces.pid = Self.pids
            sample.group.processes[index].namespaces.user = Self.own
            for thread in sample.group.processes[index].threads.indices {
                var credentials = Credentials()
                credentials.uid = Self.root + 5
                credentials.gid = Self.root + 6
                for field in [
                    \Credentials.effectiveUID, \.savedUID, \.filesystemUID, \.effectiveGID, \.savedGID, \.filesystemGID,
                ] {
                    credentials[keyPath: field] = Self.root
                }
                credentials.groups = [Self.root + 10]
                sample.group.processes[index].threads[thread].credentials = credentials
            }
        }
        let map = IDMap([IDMap.Extent(first: 0, lowerFirst: Self.root, count: 1000)])
        var namespace = UserNamespace(users: map, groups: map)
        change(&namespace)
        sample.group.userNamespaces[Self.own] = namespace
        sample.group.namespaceOwners[Self.pids] = Self.own
        for id in sample.group.openFiles.keys {
            switch sample.group.openFiles[id]?.kind {
            case .path(var node):
                node.uid = Self.root + 3
                node.gid = Self.root + 4
                sample.group.openFiles[id]?.kind = .path(node)
            case .unixSocket(var socket):
                socket.address?.uid = Self.root
                socket.address?.gid = Self.root
                sample.group.openFiles[id]?.kind = .unixSocket(socket)
            case .inetSocket: sample.group.openFiles[id]?.kind = .eventfd(counter: 0, isSemaphore: false)
            default: break
            }
        }
        for id in sample.group.sharedMemory.keys {
            sample.group.sharedMemory[id]?.memfd?.uid = Self.root + 7
            sample.group.sharedMemory[id]?.memfd?.gid = Self.root + 8
        }
        return sample
    }

    private func reasons(_ sample: SyntheticGroup) -> (verdict: Verdict, text: String) {
        let record = GroupCheckpoint.assess(sample.group)
        return (record.verdict, (record.reasons + record.processes.flatMap(\.reasons)).joined(separator: "\n"))
    }

    @Test func imagesHaveTheNumbersOfTheNamespace() throws {
        var sample = sample()
        let scratch = ScratchDirectory()
        let record = GroupCheckpoint.save(sample.group, pages: &sample.supply, toVolume: scratch.path)
        #expect(record.verdict == .full, "\(record)")
        #expect(record.imagesGroup == Self.root)
        let images = "\(scratch.path)/groups/sample/images"
        let users = try ImageContents(parsing: contents(of: "\(images)/userns-10.img")).entries[0].message
        for field: UInt32 in [1, 2] {
            let extent = try ProtobufFields(parsing: #require(users.data(field)))
            #expect([1, 2, 3].map { extent.number($0) } == [0, UInt64(Self.root), 1000])
        }
        let ids = try ImageContents(parsing: contents(of: "\(images)/ids-1.img")).entries[0].message
        #expect(ids.number(10) == 10 && ids.number(5) == 11)
        let memfd = try ImageContents(parsing: contents(of: "\(images)/memfd.img")).entries[0].message
        #expect(memfd.number(2) == 7 && memfd.number(3) == 8)
        let plan = GroupUsers(PIDNamespace(sample.group))
        let credentials = try #require(plan.group.processes.first?.threads.first?.credentials)
        #expect(credentials.uid == 5 && credentials.gid == 6 && credentials.effectiveUID == 0 && credentials.groups == [10])
    }

    @Test func withoutAPidNamespaceItIsRefused() {
        var sample = sample()
        sample.group.namespacePIDs = [:]
        for index in sample.group.processes.indices { sample.group.processes[index].namespaces.pid = Self.host }
        let found = reasons(sample)
        #expect(found.verdict == .refused)
        #expect(found.text.contains("comes back only with a pid namespace of its own"), "\(found.text)")
    }

    @Test func whatCannotComeBackIsSaid() {
        func expect(_ verdict: Verdict, _ words: String, _ sample: SyntheticGroup) {
            let found = reasons(sample)
            #expect(found.verdict == verdict && found.text.contains(words), "\(found)")
        }
        expect(.refused, "lies in one that is not the guest's", sample { $0.level = 2 })
        expect(.refused, "no user 0", sample { $0.users.extents[0].first = 1 })
        expect(.refused, "are damaged", sample { $0.groups.extents.append($0.groups.extents[0]) })
        expect(.refused, "are damaged", sample { $0.users.extents[0].count = UInt32.max })
        expect(.degraded, "user 1000, who made its user namespace", sample { $0.owner = 1000 })
        expect(.degraded, "setgroups(2)", sample { $0.deniesSetgroups = true })

        var foreign = sample()
        foreign.group.namespaceOwners[Self.pids] = Self.host
        expect(.refused, "its pid namespace does not belong to its user namespace", foreign)
        var unread = sample()
        unread.group.userNamespaces = [:]
        expect(.refused, "its user namespace could not be read", unread)

        var stranger = sample()
        for index in stranger.group.processes.indices where !stranger.group.processes[index].threads.isEmpty {
            stranger.group.processes[index].threads[0].credentials.savedUID = 33
        }
        expect(.refused, "it is user 33, whom its user namespace does not know", stranger)
        var member = sample()
        for index in member.group.processes.indices where !member.group.processes[index].threads.isEmpty {
            member.group.processes[index].threads[0].credentials.groups = [0, Self.root]
        }
        expect(.degraded, "it is no longer of group 0, which", member)
        var login = sample()
        for index in login.group.processes.indices { login.group.processes[index].loginUID = 1000 }
        expect(.degraded, "no audit login user", login)
        var nice = sample()
        for index in nice.group.processes.indices where !nice.group.processes[index].threads.isEmpty {
            nice.group.processes[index].threads[0].scheduling.nice = -5
        }
        expect(.refused, "a priority that its user namespace cannot give", nice)

        var secret = sample()
        secret.group.openFiles[FileID(rawValue: 3)]?.kind = .path(
            FileNode(path: "/root/secret", type: .regular, inode: 8, mode: 0o100644, sizeBytes: 77))
        expect(.refused, "/root/secret can be opened by user 0 and group 0 alone", secret)
        var removed = sample()
        removed.group.openFiles[FileID(rawValue: 9)]?.kind = .path(
            FileNode(
                path: "/tmp/scratch", type: .regular, isDeleted: true, device: 5, inode: 9, mode: 0o100600, sizeBytes: 5000))
        expect(.degraded, "is nobody's now (2 times)", removed)
    }

    @Test func optionsOfMountsAreTranslated() throws {
        var sample = sample()
        var mount = Mount(
            id: 2, parentID: 1, device: 3, typeName: "devpts", source: "devpts", root: "/", point: "/dev/pts")
        mount.options = "mode=0620,gid=100005,uid=7,size=100005"
        sample.group.mountNamespaces[4] = MountNamespace(mounts: [mount])
        let plan = GroupUsers(PIDNamespace(sample.group))
        let options = try #require(plan.group.mountNamespaces[4]?.mounts.first?.options)
        #expect(options == "mode=0620,gid=5,uid=65534,size=100005")
    }

    @Test func ownersOfTunnelsAreTranslated() throws {
        func users(owner: Int32, group: Int32) -> GroupUsers {
            var sample = self.sample()
            var device = NetworkDevice(index: 2, name: "tun0", mtu: 1500, flags: 1, isLoopback: false)
            device.kind = "tun"
            device.details = .tunnel(
                NetworkDevice.Tunnel(
                    flags: 0x1001, owner: owner, group: group, headerBytes: 10, sendBufferBytes: 4096, hasFilter: false))
            var network = NetworkNamespace()
            network.devices = [device]
            sample.group.networkNamespaces[6] = network
            return GroupUsers(PIDNamespace(sample.group))
        }
        func owners(_ users: GroupUsers) -> [Int32] {
            guard case .tunnel(let tunnel) = users.group.networkNamespaces[6]?.devices.first?.details else { return [] }
            return [tunnel.owner, tunnel.group]
        }
        func reasons(_ users: GroupUsers) -> String { users.obstacles.map(\.reason).joined(separator: "\n") }
        let known = users(owner: Int32(Self.root) + 5, group: Int32(Self.root) + 6)
        #expect(owners(known) == [5, 6] && reasons(known).isEmpty)
        let anybody = users(owner: -1, group: -1)
        #expect(owners(anybody) == [-1, -1] && reasons(anybody).isEmpty)
        #expect(reasons(users(owner: 33, group: -1)).contains("tun0 in its network namespace belongs to user 33"))
        #expect(reasons(users(owner: -1, group: 33)).contains("tun0 in its network namespace belongs to group 33"))
    }

    @Test func numbersAreFoundBothWays() {
        let map = IDMap([
            IDMap.Extent(first: 0, lowerFirst: 1000, count: 1), IDMap.Extent(first: 1, lowerFirst: 100_000, count: 10),
            IDMap.Extent(first: UInt32.max - 1, lowerFirst: UInt32.max - 9, count: UInt32.max),
        ])
        #expect(map.inside(1000) == 0 && map.inside(1001) == nil && map.inside(100_009) == 10 && map.inside(100_010) == nil)
        #expect(map.outside(0) == 1000 && map.outside(10) == 100_009 && map.outside(11) == nil)
        #expect(map.inside(UInt32.max) == nil, "what would be no number is none")
    }
}
