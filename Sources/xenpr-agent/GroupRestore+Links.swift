/// What connects a group's own network namespace with the guest. CRIU makes both devices of each pair; what the guest's is part of was gone with the dead kernel.
extension GroupRestore {
    /// How CRIU names the devices of the guest.
    var linkOptions: [String] { group.links.flatMap { ["--external", "veth[\($0.device)]:\($0.peer.name)"] } }

    /// Fails when a device of the guest has a name already that CRIU needs.
    func checkLinks() throws(AgentError) {
        for link in group.links where exists(link.peer.name) {
            throw AgentError(
                description:
                    "the guest has a network device \(link.peer.name) already, which was the other end of the group's \(link.device)"
            )
        }
    }

    /// Switches the guest's devices on, makes them part of their bridge, and gives them their addresses. Returns what could not be done.
    func completeLinks() -> [String] {
        group.links.flatMap { link in
            var problems: [String] = []
            func tell(_ arguments: [String]) {
                do throws(AgentError) {
                    guard try ChildProgram(arguments: ["ip"] + arguments).run(timeoutSeconds: timeoutSeconds) != 0 else {
                        return
                    }
                    problems.append(
                        "`ip \(arguments.joined(separator: " "))` failed: \(link.device) is not connected as it was")
                } catch { problems.append("\(link.device) is not connected as it was: \(error)") }
            }
            func configure(_ end: RecoveryManifest.LinkEnd) {
                for address in end.addresses { tell(["address", "replace", address, "dev", "\(end.name)"]) }
                if end.isUp { tell(["link", "set", "\(end.name)", "up"]) }
            }
            if let bridge = link.bridge {
                // Who made it before the crash finds it as it was then, or has made it again already.
                if !exists(bridge.name) {
                    let address = bridge.hardwareAddress.isEmpty ? [] : ["address", bridge.hardwareAddress]
                    tell(["link", "add", "name", "\(bridge.name)"] + address + ["type", "bridge"])
                    configure(bridge)
                }
                tell(["link", "set", "\(link.peer.name)", "master", "\(bridge.name)"])
            }
            if !link.peer.hardwareAddress.isEmpty {
                tell(["link", "set", "\(link.peer.name)", "address", link.peer.hardwareAddress])
            }
            configure(link.peer)
            return problems
        }
    }

    private func exists(_ device: DeviceName) -> Bool { System.exists("/sys/class/net/\(device)") }
}
