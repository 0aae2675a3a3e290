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
        var ofLink = NetworkAddress(bytes: [0xfe, 0x80] + Array(repeating: 1, count: 14), prefixLength: 64)
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
        #expect(verdict { $0.filtersPackets = true } == .degraded)
        #expect(verdict { $0.hasRoutingRules = true } == .degraded)
        #expect(verdict { $0.lostSettings = ["net/ipv4/tcp_congestion_control"] } == .degraded)
        #expect(verdict { $0.unknownRoutes = 1 } == .degraded)
        let device = NetworkDevice(index: 2, name: "eth0", mtu: 1500, flags: 1, isLoopback: false)
        #expect(verdict { $0.devices.append(device) } == .refused)
        // It is there as soon as its module is, and nobody has switched it on.
        var tunnel = NetworkDevice(index: 2, name: "sit0", mtu: 1480, flags: 0x80, isLoopback: false)
        #expect(verdict { $0.devices.append(tunnel) } == .full)
        tunnel.flags = 0x81
        #expect(verdict { $0.devices.append(tunnel) } == .refused)
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
        // The magic number, and messages for 127.0.0.1 and 10.0.7.2; the address of the link is found anew.
        #expect(Array(addresses.prefix(4)) == [0x22, 0x12, 0x36, 0x47])
        #expect(addresses.ranges(of: [10, 0, 7, 255]).count == 1 && addresses.ranges(of: [0xfe, 0x80]).isEmpty)
        var lengths: [Int] = []
        var at = 4
        while at + 4 <= addresses.count {
            lengths.append(Int(addresses[at]) | Int(addresses[at + 1]) << 8)
            at += max(lengths.last ?? 0, 4)
        }
        #expect(lengths.count == 2 && at == addresses.count && lengths.allSatisfy { $0 % 4 == 0 })
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
            } == .degraded, "its routes of IPv6 are not read")
    }
}
