import ProcessModel

/// Mappings of packet sockets' rings, and the devices that the group's packet sockets name by their numbers.
struct PacketSocketPlan: Sendable {
    /// For the agent, which sees to it that they have the same numbers.
    private(set) var devices: [RecoveryManifest.Device] = []
    private(set) var obstacles: [Obstacle] = []

    init(_ group: ProtectedGroup, files: FileTable, hasNetworkNamespace: Bool) {
        var found: Set<PacketSocket.Device> = []
        for id in files.held.files where files.assessments[id]?.treatment == .asItWas {
            guard case .packetSocket(let socket) = group.openFiles[id]?.kind else { continue }
            found.formUnion(socket.numberedDevices)
        }
        for device in found.sorted(by: { $0.number < $1.number }) {
            let name = device.name.map(\.description) ?? ""
            if hasNetworkNamespace {
                obstacles.append(
                    Obstacle(
                        .refused, pid: nil, reason: "a packet socket of \(name) in a network namespace of its own"))
            } else {
                devices.append(RecoveryManifest.Device(name: name, number: device.number))
            }
        }
        for process in group.processes {
            let held = Set(process.descriptorTable.flatMap { group.descriptorTables[$0] }?.descriptors.map(\.file) ?? [])
            for mapping in process.addressSpace.flatMap({ group.addressSpaces[$0] })?.mappings ?? [] {
                guard case .packetRing(let id, _) = mapping.kind, case .packetSocket(let socket) = group.openFiles[id]?.kind,
                    let problem = Self.problem(of: mapping, socket, isHeld: held.contains(id))
                else { continue }
                obstacles.append(
                    Obstacle(
                        .refused, pid: process.pid, reason: "mapping at \(mapping.start): ring of a packet socket \(problem)"))
            }
        }
    }

    /// The kernel maps a ring as a whole only, and CRIU takes a descriptor of the process for it.
    private static func problem(of mapping: Mapping, _ socket: PacketSocket, isHeld: Bool) -> String? {
        if !isHeld { return "that the process has no descriptor of" }
        let size = mapping.end.rawValue - mapping.start.rawValue
        return mapping.offsetBytes == 0 && size == socket.ringBytes ? nil : "that is mapped in part"
    }
}
