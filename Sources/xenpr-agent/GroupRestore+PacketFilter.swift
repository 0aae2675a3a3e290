import Glibc

extension GroupRestore {
    /// More than a hundred thousand elements take.
    private static let packetFilterLimit = 64 << 20

    /// Loads the modules that packet filters and devices on others need, before the group is there. The kernel would load them by itself, but begin a batch anew for each, and say
    /// no more of a kind of device that it does not get than that it does not know it.
    func loadModules() {
        var modules = group.networks.reduce(into: Set<String>()) { all, network in
            if let batch = network.packetFilter.flatMap({ try? batch(in: $0) }) { all.formUnion(batch.modules) }
        }
        if !group.lowerDevices.isEmpty { modules.insert("macvlan") }
        guard !modules.isEmpty else { return }
        // Not every name is one of a module.
        _ = try? ChildProgram(arguments: ["modprobe", "-abq"] + modules.sorted()).run(timeoutSeconds: timeoutSeconds)
    }

    private func batch(in file: GroupName) throws(AgentError) -> PacketFilterBatch {
        try PacketFilterBatch(readFile("\(directory)/images/\(file)", limit: Self.packetFilterLimit))
    }

    /// Gives the group's own network namespaces the packet filters that they had. Comes before the lock of its connections is taken away. Returns which do not have theirs, and why.
    func completePacketFilters() -> [String] {
        guard group.hasNetworkNamespace else { return [] }
        return group.networks.compactMap { network in
            guard let file = network.packetFilter else { return nil }
            do throws(AgentError) {
                try make(batch(in: file), inNetworkOf: network.pid)
                return nil
            } catch {
                return "the packet filter of its network namespace is empty: \(error)"
            }
        }
    }

    /// The process that is in the namespace can but exit with a number, so it tells what went wrong through a pipe.
    private func make(_ batch: PacketFilterBatch, inNetworkOf pid: Int32) throws(AgentError) {
        guard let ends = System.pipe(), let reading = Descriptor(taking: ends.read),
            let writing = Descriptor(taking: ends.write)
        else { throw systemError("cannot make a pipe") }
        let error = inNetworkNamespace(of: pid) {
            do throws(AgentError) { try batch.send() } catch {
                // A sentence, which a pipe has room for.
                _ = System.write(writing.number, Array("\(error)".utf8))
                return EIO
            }
            return 0
        }
        guard error != 0 else { return }
        var sentence = [UInt8](repeating: 0, count: 1024)
        let count = System.poll([reading.number], milliseconds: 0) == [true] ? System.read(reading.number, into: &sentence) : 0
        throw AgentError(description: count > 0 ? String(decoding: sentence.prefix(count), as: UTF8.self) : errorText(error))
    }
}
