/// What connects a group's own network namespace with the guest. CRIU makes both devices of each pair, and macvlans on devices that the guest has; what the guest's are part of was gone
/// with the dead kernel.
extension GroupRestore {
    /// How CRIU names the devices of the guest.
    var linkOptions: [String] {
        group.links.flatMap { ["--external", "veth[\($0.device)]:\($0.peer.name)"] }
            + group.lowerDevices.flatMap { ["--external", "macvlan[\($0.device)]:\($0.lower.name)"] }
    }

    /// Sees to the devices of the guest that CRIU needs. Fails when it has one already that CRIU makes, or has none that CRIU needs.
    func prepareLinks() throws(AgentError) {
        for link in group.links where exists(link.peer.name) {
            throw AgentError(
                description:
                    "the guest has a network device \(link.peer.name) already, which was the other end of the group's \(link.device)"
            )
        }
        for item in group.lowerDevices where !exists(item.lower.name) {
            guard let number = item.bridgeNumber else {
                throw AgentError(
                    description: "the guest has no network device \(item.lower.name), on which the group's \(item.device) lies")
            }
            // Its number is what `ip` shows behind the name of what lies on it.
            let problems = makeBridge(item.lower, number: number)
            guard problems.isEmpty else { throw AgentError(description: problems.joined(separator: "; ")) }
        }
    }

    /// Switches the guest's devices on, makes them part of their bridge, and gives them their addresses. Returns what could not be done.
    func completeLinks() -> [String] {
        group.links.flatMap { link in
            // CRIU does not see to the guest's end. A bridge takes the least MTU of its ports, so it comes before the bridge.
            var problems = setMTU(of: link.peer)
            if let bridge = link.bridge {
                // Who made it before the crash finds it as it was then, or has made it again already.
                if !exists(bridge.name) { problems += makeBridge(bridge) }
                problems += tell(["link", "set", "\(link.peer.name)", "master", "\(bridge.name)"])
            }
            if !link.peer.hardwareAddress.isEmpty {
                problems += tell(["link", "set", "\(link.peer.name)", "address", link.peer.hardwareAddress])
            }
            problems += configure(link.peer)
            return problems.map { "\($0): \(link.device) is not connected as it was" }
        }
    }

    private func makeBridge(_ bridge: RecoveryManifest.LinkEnd, number: UInt32? = nil) -> [String] {
        let address = bridge.hardwareAddress.isEmpty ? [] : ["address", bridge.hardwareAddress]
        func make(_ number: [String]) -> [String] {
            tell(["link", "add", "name", "\(bridge.name)"] + number + address + ["type", "bridge"])
        }
        // Another device may have the number by now.
        var problems = make(number.map { ["index", "\($0)"] } ?? [])
        if number != nil, !problems.isEmpty { problems = make([]) }
        return problems + setMTU(of: bridge) + configure(bridge)
    }

    private func setMTU(of end: RecoveryManifest.LinkEnd) -> [String] {
        end.mtu.map { tell(["link", "set", "dev", "\(end.name)", "mtu", "\($0)"]) } ?? []
    }

    private func configure(_ end: RecoveryManifest.LinkEnd) -> [String] {
        let problems = end.addresses.flatMap { tell(["address", "replace", $0, "dev", "\(end.name)"]) }
        return problems + (end.isUp ? tell(["link", "set", "\(end.name)", "up"]) : [])
    }

    /// - Returns: why it has failed, if it has.
    private func tell(_ arguments: [String]) -> [String] {
        do throws(AgentError) {
            let status = try ChildProgram(arguments: ["ip"] + arguments).run(timeoutSeconds: timeoutSeconds)
            return status == 0 ? [] : ["`ip \(arguments.joined(separator: " "))` failed"]
        } catch { return [error.description] }
    }

    private func exists(_ device: DeviceName) -> Bool { System.exists("/sys/class/net/\(device)") }
}
