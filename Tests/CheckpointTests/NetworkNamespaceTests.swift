import GuestMemory
import ProcessModel
import Testing

@testable import Checkpoint

@Suite struct NetworkNamespaceTests {
    private static let host: UInt32 = 0xf000_0000
    private static let own: UInt32 = 0xf000_0100

    /// The synthetic group with its worker in a network namespace of its own.
    private func group(_ change: (inout NetworkNamespace) -> Void) -> SyntheticGroup {
        var sample = SyntheticGroup()
        sample.group.initNamespaces.network = Self.host
        for index in sample.group.processes.indices {
            let isKeeper = sample.group.processes[index].pid == SyntheticGroup.keeper
            if isKeeper { sample.group.processes[index].command = "xenpr-keeper" }
            sample.group.processes[index].namespaces.network = isKeeper ? Self.host : Self.own
        }
        var namespace = NetworkNamespace()
        var device = NetworkDevice(index: 1, name: "lo", mtu: 65536, flags: 9, isLoopback: true)
        device.addresses = [NetworkAddress(bytes: [127, 0, 0, 1], prefixLength: 8)]
        namespace.devices = [device]
        change(&namespace)
        sample.group.networkNamespaces[Self.own] = namespace
        return sample
    }

    private func verdict(_ change: (inout NetworkNamespace) -> Void) -> Verdict {
        GroupCheckpoint.assess(group(change).group).verdict
    }

    /// A device whose other end is a port of a bridge.
    private func join(_ namespace: inout NetworkNamespace, _ change: (inout NetworkPeer) -> Void = { _ in }) {
        var device = NetworkDevice(index: 2, name: "eth0", mtu: 1400, flags: 0x1043, isLoopback: false)
        device.kind = "veth"
        device.hardwareAddress = [2, 0, 0, 0xc8, 7, 2]
        var address = NetworkAddress(bytes: [10, 0, 7, 2], prefixLength: 24)
        address.broadcast = [10, 0, 7, 255]
        address.flags = 0x80
        address.label = "eth0"
        var ofLink = NetworkAddress(
            bytes: [0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xfe, 0xc8, 7, 2], prefixLength: 64)
        ofLink.flags = 0x80
        device.addresses = [address, ofLink]
        namespace.devices.append(device)
        var bridge = NetworkDevice(index: 9, name: "docker0", mtu: 1500, flags: 0x1003, isLoopback: false)
        bridge.kind = "bridge"
        bridge.hardwareAddress = [2, 0x42, 0, 0, 0, 1]
        bridge.addresses = [NetworkAddress(bytes: [10, 0, 7, 1], prefixLength: 24)]
        let other = NetworkDevice(index: 10, name: "veth1a2b", mtu: 1400, flags: 0x1003, isLoopback: false)
        var peer = NetworkPeer(isInGuest: true, device: other, master: bridge)
        change(&peer)
        namespace.peers[2] = peer
    }

    @Test func devicesThatNobodyCanMakeAgainAreRefused() throws {
        #expect(verdict { _ in } == .full)
        #expect(verdict { $0.devices[0].addresses.append(NetworkAddress(bytes: [10, 0, 0, 1], prefixLength: 8)) } == .full)
        #expect(verdict { $0.devices[0].addresses[0].bytes[3] = 2 } == .degraded, "the kernel gives it 127.0.0.1")
        #expect(verdict { $0.devices[0].flags = 8 } == .degraded, "an address on a device that is down")
        #expect(verdict { $0.lostPacketFilter = "expression inner" } == .degraded)
        #expect(verdict { $0.trackedConnections = 2 } == .degraded)
        #expect(verdict { $0.packetFilter.tables = [PacketFilter.Table(family: 1, name: "guard")] } == .full)
        #expect(verdict { $0.hasRoutingRules = true } == .degraded)
        #expect(verdict { $0.lostSettings = ["net/ipv4/tcp_congestion_control"] } == .degraded)
        #expect(verdict { $0.unknownRoutes = 1 } == .degraded)
        #expect(verdict { $0.hasIPsec = true } == .degraded)
        #expect(verdict { $0.permanentNeighbours = 1 } == .degraded)
        #expect(verdict { $0.devices[0].queueing = ["netem"] } == .degraded)
        #expect(verdict { $0.devices[0].hasPacketProgram = true } == .degraded)
        let device = NetworkDevice(index: 2, name: "eth0", mtu: 1500, flags: 1, isLoopback: false)
        #expect(verdict { $0.devices.append(device) } == .refused)
        // It is there as soon as its module is, and nobody has switched it on.
        var tunnel = NetworkDevice(index: 2, name: "sit0", mtu: 1480, flags: 0x80, isLoopback: false)
        #expect(verdict { $0.devices.append(tunnel) } == .full)
        tunnel.flags = 0x81
        #expect(verdict { $0.devices.append(tunnel) } == .refused)
    }

    private func device(_ index: UInt32, _ name: KernelString, _ kind: KernelString, _ details: NetworkDevice.Details)
        -> NetworkDevice
    {
        var device = NetworkDevice(index: index, name: name, mtu: 1400, flags: 0x1043, isLoopback: false)
        device.kind = kind
        device.details = details
        return device
    }

    private static let tunnel = NetworkDevice.Tunnel(
        flags: 0x1001, owner: -1, group: 100, headerBytes: 10, sendBufferBytes: 4096, hasFilter: false)

    @Test func devicesOfKnownDriversComeBackWithWhatTheyWereMadeWith() throws {
        let scratch = ScratchDirectory()
        let sit = NetworkDevice.SitTunnel(
            link: 0, local: [10, 0, 0, 1], remote: [0, 0, 0, 0], timeToLive: 13, typeOfService: 0, transport: 41,
            isSpecial: false)
        var sample = group { namespace in
            namespace.devices += [
                device(2, "tun0", "tun", .tunnel(Self.tunnel)), device(3, "six", "sit", .sit(sit)),
                device(4, "mv0", "macvlan", .macvlan(NetworkDevice.Macvlan(mode: 4, flags: 0, hasSources: false))),
            ]
            var bridge = NetworkDevice(index: 9, name: "docker0", mtu: 1500, flags: 0x1003, isLoopback: false)
            bridge.kind = "bridge"
            namespace.lowerDevices[4] = NetworkPeer(isInGuest: true, device: bridge)
        }
        sample.group.openFiles[FileID(rawValue: 11)]?.kind = .tunnel(
            TunnelFile(
                node: FileNode(path: "/dev/net/tun", type: .characterDevice(major: 10, minor: 200), mode: 0o20666),
                networkNamespace: Self.own, device: "tun0", isDetached: true))
        let record = GroupCheckpoint.save(sample.group, pages: &sample.supply, toVolume: scratch.path)
        #expect(record.verdict == .full, "\(record)")
        #expect(record.lowerDevices.map(\.device) == ["mv0"])
        #expect(record.lowerDevices.map(\.lower.name) == ["docker0"] && record.lowerDevices.map(\.bridgeNumber) == [9])
        let images = "\(scratch.path)/groups/sample/images"
        let devices = try ImageContents(parsing: contents(of: "\(images)/netdev-12.img")).entries.map(\.message)
        #expect(devices.map { $0.number(1) } == [1, 3, 8, 7])
        let made = try #require(try devices[1].message(6))
        #expect((1...5).map { made.number($0) } == [0x1001, .max, 100, 10, 4096])
        let six = try #require(try devices[2].message(15))
        // The address as CRIU has it in memory, and none where any is meant.
        #expect(six.number(2) == 0x0100_000a && six.number(3) == nil && six.number(4) == 13)
        #expect(try devices[3].message(11)?.number(1) == 4)
        let files = try ImageContents(parsing: contents(of: "\(images)/files.img")).entries.map(\.message)
        let file = try #require(try files.first { $0.number(2) == 11 && $0.number(1) == 15 }?.message(11))
        #expect(file.data(2) == Array("tun0".utf8) && file.number(3) == 1 && file.number(4) == 12)
        #expect(files.contains { $0.number(2) == 11 && $0.number(1) == 1 }, "the device file that it was opened by")
    }

    @Test func devicesWithMoreToThemAreRefused() {
        var filtered = Self.tunnel
        filtered.hasFilter = true
        #expect(verdict { $0.devices.append(device(2, "tun0", "tun", .tunnel(filtered))) } == .refused)
        let sources = NetworkDevice.Macvlan(mode: 16, flags: 0, hasSources: true)
        let plain = NetworkDevice.Macvlan(mode: 4, flags: 0, hasSources: false)
        let lower = NetworkDevice(index: 9, name: "eth0", mtu: 1500, flags: 1, isLoopback: false)
        func verdictOf(_ macvlan: NetworkDevice.Macvlan, isInGuest: Bool) -> Verdict {
            verdict {
                $0.devices.append(device(2, "mv0", "macvlan", .macvlan(macvlan)))
                $0.lowerDevices[2] = NetworkPeer(isInGuest: isInGuest, device: lower)
            }
        }
        #expect(verdictOf(plain, isInGuest: true) == .full)
        #expect(verdictOf(plain, isInGuest: false) == .refused)
        #expect(verdictOf(sources, isInGuest: true) == .refused)
    }

    @Test func aTunnelOfTheGuestsNetworkIsRefused() {
        var sample = SyntheticGroup()
        sample.group.openFiles[FileID(rawValue: 11)]?.kind = .tunnel(
            TunnelFile(
                node: FileNode(path: "/dev/net/tun", type: .characterDevice(major: 10, minor: 200), mode: 0o20666),
                networkNamespace: Self.host, device: "tun0", isDetached: false))
        #expect(GroupCheckpoint.assess(sample.group).verdict == .refused)
    }

    @Test func pairsWithTheGuestComeBack() throws {
        let scratch = ScratchDirectory()
        var sample = group { namespace in
            join(&namespace)
            namespace.devices.append(NetworkDevice(index: 3, name: "sit0", mtu: 1480, flags: 0x80, isLoopback: false))
            namespace.routes = [
                NetworkRoute(
                    table: 254, destination: [0, 0, 0, 0], prefixLength: 0, type: 1, routingProtocol: 3, scope: 0, device: 2,
                    gateway: [10, 0, 7, 1])
            ]
        }
        let record = GroupCheckpoint.save(sample.group, pages: &sample.supply, toVolume: scratch.path)
        #expect(record.verdict == .full, "\(record)")
        let images = "\(scratch.path)/groups/sample/images"
        let devices = try ImageContents(parsing: contents(of: "\(images)/netdev-12.img")).entries.map(\.message)
        #expect(devices.map { $0.data(5) } == [Array("lo".utf8), Array("eth0".utf8)])
        #expect(devices.map { $0.number(1) } == [1, 2])
        #expect(devices[1].data(7) == [2, 0, 0, 0xc8, 7, 2] && devices[1].number(3) == 1400)
        let ids = try ImageContents(parsing: contents(of: "\(images)/ids-\(SyntheticGroup.worker).img")).entries[0].message
        #expect(ids.number(6) == 12)

        let addresses = try contents(of: "\(images)/ifaddr-12.img")
        // The magic number, and messages for 127.0.0.1, 10.0.7.2 and the address of the link.
        #expect(Array(addresses.prefix(4)) == [0x22, 0x12, 0x36, 0x47])
        #expect(addresses.ranges(of: [10, 0, 7, 255]).count == 1 && addresses.ranges(of: [0xfe, 0x80, 0, 0]).count == 2)
        var lengths: [Int] = []
        var at = 4
        while at + 4 <= addresses.count {
            lengths.append(Int(addresses[at]) | Int(addresses[at + 1]) << 8)
            at += max(lengths.last ?? 0, 4)
        }
        #expect(lengths.count == 3 && at == addresses.count && lengths.allSatisfy { $0 % 4 == 0 })
        #expect(Array(addresses[8..<10]) == [20, 0], "RTM_NEWADDR")
        let routes = try contents(of: "\(images)/route-12.img")
        // struct rtmsg: AF_INET, no destination, table main, RTPROT_BOOT, RT_SCOPE_UNIVERSE, RTN_UNICAST.
        #expect(Array(routes[20..<28]) == [2, 0, 0, 0, 254, 3, 0, 1])
        #expect(routes.ranges(of: [8, 0, 5, 0, 10, 0, 7, 1]).count == 1, "RTA_GATEWAY")

        let link = try #require(record.links.first)
        #expect(record.links.count == 1 && link.device == "eth0")
        #expect(link.peer.name == "veth1a2b" && link.peer.isUp && link.peer.addresses.isEmpty)
        #expect(link.bridge?.name == "docker0" && link.bridge?.addresses == ["10.0.7.1/24"])
        #expect(link.bridge?.hardwareAddress == "02:42:00:00:00:01")
        #expect(link.peer.mtu == 1400 && link.bridge?.mtu == 1500)
    }

    @Test func whatTheKernelWouldDecideOtherwiseIsInTheImages() throws {
        let scratch = ScratchDirectory()
        var sample = group { namespace in
            join(&namespace) { $0.device.mtu = 1 << 20 }
            namespace.devices[1].addresses[0].routePriority = 300
            var usable = NetworkAddress(bytes: [0xfd] + Array(repeating: 0, count: 14) + [2], prefixLength: 64)
            usable.flags = 0x80
            var tentative = NetworkAddress(bytes: [0xfd] + Array(repeating: 0, count: 14) + [3], prefixLength: 64)
            tentative.flags = 0xc0
            namespace.devices[1].addresses += [usable, tentative]
            var route = NetworkRoute(
                table: 254, destination: [0, 0, 0, 0], prefixLength: 0, type: 1, routingProtocol: 3, scope: 0, device: 2,
                gateway: [10, 9, 9, 9])
            route.isOnLink = true
            let from = [usable, tentative].map { address in
                NetworkRoute(
                    table: 254, destination: [0xfd, 1] + Array(repeating: 0, count: 14), prefixLength: 32, type: 1,
                    routingProtocol: 3, scope: 0, preferredSource: address.bytes, device: 2, gateway: nil)
            }
            namespace.routes = [route] + from
        }
        let record = GroupCheckpoint.save(sample.group, pages: &sample.supply, toVolume: scratch.path)
        #expect(record.links.map(\.peer.mtu) == [nil], "no veth has had that")
        let images = "\(scratch.path)/groups/sample/images"
        let addresses = try contents(of: "\(images)/ifaddr-12.img")
        // IFA_FLAGS, IFA_RT_PRIORITY.
        #expect(addresses.ranges(of: [8, 0, 8, 0, 0x82, 0, 0, 0]).count == 1, "IFA_F_NODAD")
        #expect(addresses.ranges(of: [8, 0, 8, 0, 0xc0, 0, 0, 0]).count == 1)
        #expect(addresses.ranges(of: [8, 0, 9, 0, 44, 1, 0, 0]).count == 1)
        let routes = try contents(of: "\(images)/route-12.img")
        #expect(Array(routes[28..<32]) == [4, 0, 0, 0], "RTNH_F_ONLINK")
    }

    @Test func otherEndsThatNobodyFindsAreSaid() {
        #expect(verdict { join(&$0) } == .full)
        #expect(verdict { join(&$0) { $0.isInGuest = false } } == .refused)
        #expect(verdict { join(&$0) { $0.device.name = "-help" } } == .refused)
        #expect(verdict { join(&$0) { $0.device.name = "a:b" } } == .refused)
        #expect(verdict { join(&$0) { $0.master?.kind = "openvswitch" } } == .degraded)
        #expect(
            verdict { namespace in
                join(&namespace)
                var global = NetworkAddress(bytes: [0x20, 1] + Array(repeating: 1, count: 14), prefixLength: 64)
                global.flags = 0x80
                namespace.devices[1].addresses.append(global)
            } == .full)
    }

    @Test func routesOfIPv6AreInADumpOfTheirOwn() throws {
        let scratch = ScratchDirectory()
        let gateway: [UInt8] = [0xfd] + Array(repeating: 0, count: 14) + [1]
        var sample = group { namespace in
            join(&namespace)
            namespace.routes = [
                NetworkRoute(
                    table: 254, destination: Array(repeating: 0, count: 16), prefixLength: 0, type: 1, routingProtocol: 3,
                    scope: 0,
                    priority: 1024, preferredSource: Array(repeating: 0, count: 16), device: 2, gateway: gateway)
            ]
        }
        let record = GroupCheckpoint.save(sample.group, pages: &sample.supply, toVolume: scratch.path)
        #expect(record.verdict == .full)
        let images = "\(scratch.path)/groups/sample/images"
        #expect(!names(in: images).contains("route-12.img"))
        let routes = try contents(of: "\(images)/route6-12.img")
        // struct rtmsg: AF_INET6, no destination, table main, RTPROT_BOOT, RTN_UNICAST; RTA_GATEWAY of 16 bytes.
        #expect(Array(routes[20..<28]) == [10, 0, 0, 0, 254, 3, 0, 1])
        #expect(routes.ranges(of: [20, 0, 5, 0] + gateway).count == 1)
    }

    @Test func addressesOfALinkThatSomebodyHasSetComeBack() throws {
        let scratch = ScratchDirectory()
        var sample = group { namespace in
            join(&namespace)
            var address = NetworkAddress(bytes: [0xfe, 0x80] + Array(repeating: 0, count: 13) + [1], prefixLength: 64)
            address.flags = 0x80
            namespace.devices[1].addresses.append(address)
        }
        #expect(GroupCheckpoint.save(sample.group, pages: &sample.supply, toVolume: scratch.path).verdict == .full)
        let addresses = try contents(of: "\(scratch.path)/groups/sample/images/ifaddr-12.img")
        // IFA_ADDRESS and IFA_LOCAL, of this one and that of the hardware.
        #expect(addresses.ranges(of: [0xfe, 0x80, 0, 0]).count == 4)
    }

    /// A second namespace, in which the worker is.
    private func addInner(to sample: inout SyntheticGroup, _ change: (inout NetworkNamespace) -> Void = { _ in }) {
        var namespace = NetworkNamespace()
        namespace.devices = [NetworkDevice(index: 1, name: "lo", mtu: 65536, flags: 8, isLoopback: true)]
        namespace.settings = [NetworkSetting(path: "net/ipv4/ip_forward", value: "1")]
        change(&namespace)
        sample.group.networkNamespaces[Self.inner] = namespace
        for index in sample.group.processes.indices where sample.group.processes[index].pid == SyntheticGroup.worker {
            sample.group.processes[index].namespaces.network = Self.inner
        }
    }

    private static let inner: UInt32 = 0xf000_0101

    @Test func severalNamespacesOfAGroupComeBackWithThePairsBetweenThem() throws {
        let scratch = ScratchDirectory()
        var sample = group { namespace in
            var bridge = NetworkDevice(index: 5, name: "br0", mtu: 1500, flags: 0x1003, isLoopback: false)
            bridge.kind = "bridge"
            var port = NetworkDevice(index: 2, name: "inner", mtu: 1500, flags: 0x1003, isLoopback: false)
            port.kind = "veth"
            port.master = 5
            namespace.devices += [bridge, port]
            let end = NetworkDevice(index: 7, name: "eth0", mtu: 1500, flags: 0x1003, isLoopback: false)
            namespace.peers[2] = NetworkPeer(isInGuest: false, device: end)
            namespace.peers[2]?.namespace = Self.inner
        }
        for index in sample.group.processes.indices where sample.group.processes[index].pid == SyntheticGroup.keeper {
            sample.group.processes[index].command = "outer"
            sample.group.processes[index].namespaces.network = Self.own
        }
        addInner(to: &sample) { namespace in
            var device = NetworkDevice(index: 7, name: "eth0", mtu: 1500, flags: 0x1003, isLoopback: false)
            device.kind = "veth"
            namespace.devices.append(device)
            namespace.packetFilter.tables = [PacketFilter.Table(family: 1, name: "guard")]
            let end = NetworkDevice(index: 2, name: "inner", mtu: 1500, flags: 0x1003, isLoopback: false)
            namespace.peers[7] = NetworkPeer(isInGuest: false, device: end)
            namespace.peers[7]?.namespace = Self.own
        }
        let plan = GroupPlan(sample.group)
        #expect(
            plan.verdict == .degraded,
            "the bridge is a new one: \(plan.obstacles) \(plan.processes.flatMap(\.obstacles).map(\.reason))")
        let networks = try #require(plan.namespaces.networks)
        #expect(networks.members.map(\.number) == [Self.own, Self.inner])
        #expect(Set(networks.members.map(\.id)).count == 2 && networks.root.id == 12)
        let record = GroupCheckpoint.save(sample.group, pages: &sample.supply, toVolume: scratch.path)
        #expect(record.links.isEmpty)
        #expect(record.innerNetworks.map(\.pid) == [SyntheticGroup.worker] && record.innerNetworks[0].settings.count == 1)
        let images = "\(scratch.path)/groups/sample/images"
        let filter = try #require(record.innerNetworks[0].packetFilter)
        #expect(record.packetFilter == nil)
        #expect(try !contents(of: "\(images)/\(filter)").isEmpty)
        func devices(_ id: UInt32) throws -> [ProtobufFields] {
            try ImageContents(parsing: contents(of: "\(images)/netdev-\(id).img")).entries.map(\.message)
        }
        let outer = try devices(12)
        #expect(outer.map { $0.number(1) } == [1, 6, 2], "LOOPBACK, BRIDGE, VETH")
        #expect(outer[2].number(14) == 5 && outer[2].number(12) == 7 && outer[2].number(13) == UInt64(networks.members[1].id))
        let inner = try devices(networks.members[1].id)
        #expect(inner[1].number(12) == 2 && inner[1].number(13) == 12)
    }

    @Test func whatCRIUCannotTellApartIsRefused() {
        var sample = group { join(&$0) }
        #expect(GroupPlan(sample.group).verdict == .full)
        // Some of its processes are in the guest's network.
        for index in sample.group.processes.indices where sample.group.processes[index].pid == SyntheticGroup.keeper {
            sample.group.processes[index].command = "other"
        }
        #expect(GroupPlan(sample.group).verdict == .refused)
    }

    @Test func socketsOfOtherNamespacesAreNotMovedIntoThis() {
        var sample = group { _ in }
        var socket = InetSocket(family: 2, type: 2, transport: 17, state: .closed, inode: 4711)
        socket.sourceAddress = [0, 0, 0, 0]
        socket.destinationAddress = [0, 0, 0, 0]
        socket.options.networkNamespace = Self.own
        let file = FileID(rawValue: 6)
        sample.group.openFiles[file]?.kind = .inetSocket(socket)
        #expect(GroupPlan(sample.group).verdict == .full)
        socket.options.networkNamespace = Self.host
        sample.group.openFiles[file]?.kind = .inetSocket(socket)
        #expect(GroupPlan(sample.group).verdict == .refused)
    }
}
