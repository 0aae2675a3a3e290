import ProcessModel

extension SocketImage {
    /// `netlink_sk_entry` of images/sk-netlink.proto.
    static func netlink(id: UInt32, socket: NetlinkSocket, file: OpenFile, network: UInt32? = nil) -> ProtobufMessage {
        FileImage.entry(
            .netlinkSocket, id: id, field: 7,
            ProtobufMessage { entry in
                entry.unsigned(1, id)
                entry.unsigned(2, UInt32(truncatingIfNeeded: socket.inode))
                entry.unsigned(3, socket.transport)
                entry.unsigned(4, UInt32(socket.keepsDestination ? 1 : 0))
                entry.unsigned(6, FileImage.reopenFlags(file.flags))
                entry.unsigned(7, socket.port)
                entry.repeated(8, socket.groups.prefix(1))
                entry.unsigned(9, socket.keepsDestination ? socket.destinationPort : 0)
                entry.unsigned(10, socket.keepsDestination ? socket.destinationGroup : 0)
                entry.message(11, FileImage.fileOwner(file.owner))
                entry.message(12, options(socket.options))
                if let network { entry.unsigned(13, network) }
            })
    }
}

extension NetlinkSocket {
    /// CRIU connects to the group 1 << (number - 1), which goes wrong without one and beyond 32. Who is connected to no group and to the
    /// kernel (port 0) sends where he sends unconnected.
    var keepsDestination: Bool { isConnected && (1...32).contains(destinationGroup) }

    var assessment: FileAssessment {
        if options.hasUnsavedFilter { return .refused("a netlink socket with a filter that is no classic BPF") }
        var losses: [String] = []
        if queuedMessages > 0 { losses.append("\(queuedMessages) messages of the kernel are lost") }
        if isAnswering { losses.append("the rest of an answer of the kernel is lost") }
        if hasOwnOptions { losses.append("its own options (SOL_NETLINK) are as they are by default") }
        if groups.count > 1 { losses.append("it is no longer in its groups above 32") }
        // CRIU binds to groups and port together.
        if !groups.isEmpty, port == 0 { losses.append("it is no longer in its groups") }
        if isConnected, !keepsDestination, destinationPort != 0 || destinationGroup != 0 {
            losses.append("it is no longer connected")
        }
        return losses.isEmpty ? .full : .degraded("a netlink socket: " + losses.joined(separator: ", "))
    }
}
