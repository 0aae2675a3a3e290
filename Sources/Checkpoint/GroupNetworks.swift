import ProcessModel

/// The network namespaces of a group: that of its root, and those that its other processes have made for themselves since. CRIU makes them all before the first process
/// (criu/net.c, prepare_net_namespaces).
struct GroupNetworks: Sendable {
    struct Member: Sendable {
        /// Inode number of the namespace.
        var number: UInt32
        /// What it is called in the images.
        var id: UInt32
        var namespace: NetworkNamespace
        /// The file beside the images that has its packet filter; nil: it has none.
        var packetFilterFile: String? { namespace.packetFilter.isEmpty ? nil : PacketFilterDump.name(id) }
    }

    let members: [Member]
    var root: Member { members[0] }

    /// - Parameter namespaces: that of the root first.
    init?(_ namespaces: [(number: UInt32, namespace: NetworkNamespace)]) {
        guard !namespaces.isEmpty else { return nil }
        members = namespaces.enumerated().map { index, item in
            Member(number: item.number, id: KernelObjectIDs.ownNetwork(index), namespace: item.namespace)
        }
    }

    /// The id in the images of the namespace that a process is in.
    func id(of process: DeadProcess) -> UInt32 { (members.first { $0.number == process.namespaces.network } ?? root).id }

    /// The id in the images of a namespace by its inode number; nil: it is not of the group.
    func id(ofNumber number: UInt32) -> UInt32? { members.first { $0.number == number }?.id }

    /// What becomes of a program's tunnel: it goes with its device.
    func assessment(of tunnel: TunnelFile) -> FileAssessment {
        guard let member = members.first(where: { $0.number == tunnel.networkNamespace }) else {
            return .refused("a tunnel in a network namespace which no process of the group is in")
        }
        guard let device = tunnel.device, !NetworkAssessment.hasTunnel(device, member.namespace, in: self) else { return .full }
        return .refused("the tunnel \(device), which cannot be made again")
    }

    /// The id in the images of the namespace that a socket is in; nil: there is but one.
    func id(ofSocket options: SocketOptions) -> UInt32? {
        members.count == 1 ? nil : (members.first { $0.number == options.networkNamespace } ?? root).id
    }

    /// Whether a device is one end of a pair both of which are in the group.
    func hasBothEnds(_ peer: NetworkPeer) -> Bool { members.contains { $0.number == peer.namespace } }

    /// What the images call a namespace of the group, in which the other end of a pair is.
    func id(ofPeer peer: NetworkPeer) -> UInt32? { members.first { $0.number == peer.namespace }?.id }

    var obstacles: [Obstacle] {
        var found = members.flatMap { NetworkAssessment.obstacles(of: $0.namespace, in: self) }
        // CRIU is told the guest's end by the name of the other (veth_peer_info of criu/net.c).
        let outer = members.flatMap { NetworkAssessment.links(of: $0.namespace, in: self).map(\.device) }
        let all = members.flatMap { $0.namespace.devices.map { "\($0.name)" } }
        for name in Set(outer).sorted() where all.count(where: { $0 == name }) > 1 {
            let reason = "two of its network namespaces have a device \(name), which CRIU does not tell apart"
            found.append(Obstacle(.refused, pid: nil, reason: reason))
        }
        return found
    }

    /// Sockets that are in a network namespace which does not come back, or only in part. A unix socket meets others by its file or its other end in any of them, unless its name is
    /// an abstract one.
    static func obstacles(of group: ProtectedGroup, files: FileTable, in networks: GroupNetworks?) -> [Obstacle] {
        let known = networks.map { Set($0.members.map(\.number)) } ?? [group.initNamespaces.network]
        var reasons: [String: Obstacle.Severity] = [:]
        for id in files.held.files where files.assessments[id]?.treatment == .asItWas {
            guard let (what, options, isUnix) = socket(group.openFiles[id]?.kind) else { continue }
            let number = options.networkNamespace
            guard number != 0, group.initNamespaces.network != 0, !known.contains(number) else { continue }
            let place = number == group.initNamespaces.network ? "the guest's network" : "a network namespace"
            reasons["\(what) is in \(place), which no process of the group is in"] = isUnix ? .degraded : .refused
        }
        return reasons.sorted { $0.key < $1.key }.map { Obstacle($0.value, pid: nil, reason: $0.key) }
    }

    /// What has to be in the right namespace.
    private static func socket(_ kind: OpenFile.Kind?) -> (what: String, options: SocketOptions, isUnix: Bool)? {
        switch kind {
        case .inetSocket(let socket): ("an IP socket", socket.options, false)
        case .packetSocket(let socket): ("a packet socket", socket.options, false)
        case .netlinkSocket(let socket): ("a netlink socket", socket.options, false)
        case .unixSocket(let socket):
            if let address = socket.address, address.isAbstract {
                ("unix socket \(address.name.description.dropFirst())", socket.options, true)
            } else {
                nil
            }
        default: nil
        }
    }
}
