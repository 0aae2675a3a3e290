import GuestMemory
import ProcessModel

/// Saves protected groups: process model to CRIU images, with a verdict.
public enum GroupCheckpoint {
    /// Judges a group without writing anything: what `xenpr inspect` shows, and what a volume that is full still reports.
    public static func assess(_ group: ProtectedGroup) -> RecoveryManifest.Group {
        record(GroupPlan(group))
    }

    /// Saves a group under `volume`/groups/NAME/images, or says why not. It never costs other groups anything: what it could not finish is removed again.
    ///
    /// - Parameters:
    ///   - supply: lends the pages of the group's memory objects.
    ///   - volume: path of the mounted recovery volume.
    /// - Returns: the group's entry for the manifest. `images` is nil when nothing was kept: the verdict is then `refused` and the reasons say why.
    public static func save<Supply: PageSupply & ~Copyable>(
        _ group: ProtectedGroup, pages supply: inout Supply, toVolume volume: String
    ) -> RecoveryManifest.Group {
        let plan = GroupPlan(group)
        var record = record(plan)
        guard plan.verdict != .refused else { return record }
        let relative = "groups/\(group.name)/images"
        do throws(CheckpointError) {
            guard isPlainName(group.name) else { throw .model("the group's name is no plain name") }
            let directory = try OutputDirectory(creating: "\(volume)/\(relative)")
            var writer = GroupWriter<Supply>(plan, into: directory)
            do throws(CheckpointError) { try writer.write(pages: &supply) } catch {
                directory.remove()
                throw error
            }
            record.images = relative
            record.bytes = writer.bytes
            record.pages = writer.pages
            for index in record.processes.indices {
                record.processes[index].memoryBytes = writer.memoryBytes[record.processes[index].pid] ?? 0
            }
            for obstacle in writer.obstacles { add(obstacle, to: &record) }
        } catch {
            record.verdict = .refused
            record.reasons.append(error.description)
        }
        return record
    }

    private static func isPlainName(_ name: String) -> Bool {
        !name.isEmpty && name != "." && name != ".." && name.utf8.count <= 200 && !name.utf8.contains(UInt8(ascii: "/"))
            && !name.utf8.contains(0)
    }

    private static func add(_ obstacle: Obstacle, to record: inout RecoveryManifest.Group) {
        record.verdict = max(record.verdict, obstacle.verdict)
        guard let index = record.processes.firstIndex(where: { $0.pid == obstacle.pid }) else {
            record.reasons.append(obstacle.reason)
            return
        }
        record.processes[index].verdict = max(record.processes[index].verdict, obstacle.verdict)
        record.processes[index].reasons.append(obstacle.reason)
    }

    private static func record(_ plan: GroupPlan) -> RecoveryManifest.Group {
        var record = RecoveryManifest.Group(
            name: plan.group.name, cgroup: plan.group.cgroupPath.description, verdict: plan.verdict,
            reasons: plan.obstacles.map { obstacle in
                obstacle.pid.map { "process \($0): \(obstacle.reason)" } ?? obstacle.reason
            },
            images: nil, rootPID: plan.tree.root?.pid ?? 0)
        record.hasPIDNamespace = plan.namespaces.pidNumber != nil
        record.imagesGroup = plan.users.root?.gid
        record.disablesHugePages = plan.hugePages.areDisabled
        record.reservedPages = ReservedPages.needed(by: plan.group)
        record.cgroups = plan.cgroups.cgroups
        record.cgroupRoot = plan.cgroups.namespaceRoot
        // What the agent cannot do with would cost it all of the manifest.
        if let mounts = plan.namespaces.mounts, plan.verdict != .refused {
            record.setMounts(mounts, terminals: plan.files.terminals?.made ?? [])
        }
        record.requiredMounts = plan.files.markedMounts
        record.requiredDevices = plan.packetSockets.devices
        record.sockets = plan.socketOptions.sockets
        record.pipes = plan.packetPipes.pipes
        record.lentFiles = plan.files.lent
        record.pseudoTerminals = MountedTerminals.numbersInGuest(
            of: plan.files.terminals?.made ?? [], plan.namespaces.mounts)
        record.hasNetworkNamespace = plan.namespaces.networks != nil
        if let networks = plan.namespaces.networks, plan.verdict != .refused {
            record.setNetworks(networks, processes: plan.tree.ordered)
        }
        record.connections = plan.files.connections.map {
            RecoveryManifest.Connection(source: $0.socket.sourcePort, destination: $0.socket.destinationPort)
        }
        record.processes = plan.processes.map { process in
            let table = process.process.descriptorTable.flatMap { plan.group.descriptorTables[$0] }
            let sockets = table?.descriptors.filter { isSocket(plan.group.openFiles[$0.file]) }.count ?? 0
            var entry = RecoveryManifest.Process(
                pid: process.process.pid, command: process.process.command.description, verdict: process.verdict,
                reasons: process.obstacles.map(\.reason), memoryBytes: 0, files: (table?.descriptors.count ?? 0) - sockets,
                sockets: sockets,
                threads: process.process.threads.enumerated().compactMap { index, thread in
                    attributes(thread, index == 0 ? process.process.addressSpace.flatMap { plan.group.addressSpaces[$0] } : nil)
                })
            entry.cgroup = plan.cgroups.place(of: process.process)
            return entry
        }
        if plan.verdict == .refused {
            let refused = plan.processes.filter { $0.verdict == .refused }.map { "\($0.process.pid) (\($0.process.command))" }
            if !refused.isEmpty {
                record.reasons.append("cannot be restored because of process \(refused.joined(separator: ", "))")
            }
        }
        return record
    }

    private static func isSocket(_ file: OpenFile?) -> Bool {
        switch file?.kind {
        case .unixSocket, .inetSocket, .netlinkSocket, .packetSocket: true
        default: false
        }
    }

    /// nil when the thread has only what every thread has.
    ///
    /// - Parameter space: the process's memory, for its leader.
    private static func attributes(_ thread: DeadThread, _ space: AddressSpace?) -> RecoveryManifest.ThreadAttributes? {
        let limit = Int(clamping: thread.scheduling.possibleCPUs)
        let allowed = thread.scheduling.affinity.enumerated().flatMap { index, word in
            (0..<64).filter { word >> UInt64($0) & 1 == 1 }.map { 64 * index + $0 }
        }.filter { $0 < min(limit, 8192) }
        var attributes = RecoveryManifest.ThreadAttributes(tid: thread.tid)
        attributes.cpus = allowed.isEmpty || allowed.count == limit ? nil : allowed
        let slack = thread.scheduling.timerSlackNanoseconds
        attributes.timerSlackNanoseconds = slack == 50_000 ? nil : slack
        attributes.ioPriority = thread.scheduling.ioPriority == 0 ? nil : thread.scheduling.ioPriority
        if let filter = space?.coredumpFilter, filter != AddressSpace.defaultCoredumpFilter {
            attributes.coredumpFilter = filter
        }
        return attributes.isEmpty ? nil : attributes
    }
}

extension RecoveryManifest.Group {
    fileprivate mutating func setNetworks(_ networks: GroupNetworks, processes: [DeadProcess]) {
        links = networks.members.flatMap { NetworkAssessment.links(of: $0.namespace, in: networks) }
        lowerDevices = networks.members.flatMap { NetworkAssessment.lowerDevices(of: $0.namespace, in: networks) }
        networkSettings = networks.root.namespace.settings
        packetFilter = networks.root.packetFilterFile
        innerNetworks = networks.members.dropFirst().compactMap { member in
            processes.first { $0.namespaces.network == member.number }.map {
                RecoveryManifest.InnerNetwork(
                    pid: $0.pid, settings: member.namespace.settings, packetFilter: member.packetFilterFile)
            }
        }
    }

    fileprivate mutating func setMounts(_ mounts: GroupMounts, terminals: [Terminal]) {
        needsOldMounts = MountedTerminals(mounts, terminals).needOldMounts || mounts.lacksProcesses
        let root = mounts.root.plan.namespace.root
        mountRoot = root?.guestPath?.description
        if let layers = root?.overlay {
            // What only the namespace has shown gets a place.
            mountRoot = mountRoot ?? "/run/xenpr/roots/\(name)"
            overlay = RecoveryManifest.Overlay(
                lower: layers.lower.map(\.description), upper: layers.upper?.description, work: layers.work?.description,
                options: layers.options.joined(separator: ","))
        }
        mountRootFlags = mounts.root.plan.rootFlags
        formats = mounts.formats.compactMap { format in
            format.registration.map {
                RecoveryManifest.Format(name: format.name.description, registration: $0, isEnabled: format.isEnabled)
            }
        }
        self.mounts = mounts.external.map { RecoveryManifest.Mount(key: $0.key, path: $0.path.description) }
    }
}
