import ProcessModel

/// `unix_sk_entry` and `inet_sk_entry` of images/sk-unix.proto, sk-inet.proto and sk-opts.proto.
enum SocketImage {
    /// TCP_ESTABLISHED, TCP_CLOSE, TCP_LISTEN, which unix sockets use too.
    private enum State: UInt32 {
        case established = 1
        case close = 7
        case listen = 10
    }

    /// - Parameters:
    ///   - peer: the inode of a peer in the checkpoint, nil for none.
    ///   - keepsName: false drops the name, for it belongs to a listening socket of somebody else.
    ///   - network: what its network namespace is called in the images; nil: that of the root.
    static func unix(
        id: UInt32, socket: UnixSocket, file: OpenFile, peer: UInt64?, keepsName: Bool, network: UInt32? = nil
    ) -> ProtobufMessage {
        let state: State =
            switch socket.state {
            case .listening: .listen
            case .connected where peer != nil: .established
            // One end of a connection whose other end is closed: CRIU makes a pair, fills the queue and closes the other end.
            case .connected where socket.isHalfClosed: .established
            case .connected, .unconnected: .close
            }
        let name = keepsName ? socket.address : nil
        return FileImage.entry(
            .unixSocket, id: id, field: 16,
            ProtobufMessage { entry in
                entry.unsigned(1, id)
                entry.unsigned(2, UInt32(truncatingIfNeeded: socket.inode))
                entry.unsigned(3, socket.type)
                entry.unsigned(4, state.rawValue)
                entry.unsigned(5, FileImage.reopenFlags(file.flags))
                entry.unsigned(6, UInt32(0))
                entry.unsigned(7, state == .listen ? socket.backlog : 0)
                entry.unsigned(8, UInt32(truncatingIfNeeded: peer ?? 0))
                entry.message(9, FileImage.fileOwner(file.owner))
                entry.message(10, options(socket.options))
                entry.data(11, name.map(boundName) ?? [])
                if socket.shutdown != [] { entry.unsigned(12, socket.shutdown.rawValue) }
                if let address = name, !address.isAbstract {
                    entry.message(13) { permissions in
                        permissions.unsigned(1, address.mode)
                        permissions.unsigned(2, address.uid)
                        permissions.unsigned(3, address.gid)
                    }
                    if let directory = address.directory { entry.data(14, directory.bytes) }
                    if address.isDeleted { entry.flag(15, true) }
                }
                if let network { entry.unsigned(16, network) }
                if let mount = name?.mountID { entry.zigzag(17, mount) }
            })
    }

    /// As unix_diag tells it to CRIU: a path with the zero byte at its end (unix_mkname), without which CRIU reads on behind it.
    private static func boundName(_ address: UnixSocket.Address) -> [UInt8] {
        let name = address.name.bytes
        return address.isAbstract || name.count >= UnixSocket.Address.nameLimit ? name : name + [0]
    }

    /// - Parameter connection: of a TCP socket whose connection goes on; without it the socket is written as one that lost it (state
    ///   close, no ports).
    static func inet(
        id: UInt32, socket: InetSocket, connection: TCPConnection?, file: OpenFile, network: UInt32? = nil
    ) -> ProtobufMessage {
        let isDatagram = socket.type != 1
        let keepsPeer = connection != nil || isDatagram && socket.state == .established
        let state =
            connection?.state
            ?? (socket.state == .listening ? State.listen : keepsPeer ? State.established : State.close).rawValue
        let isBound = connection != nil || socket.state == .listening || socket.state == .closed || isDatagram
        let wordCount = socket.family == 10 ? 4 : 1
        func words(_ address: [UInt8], when isKept: Bool) -> [UInt32] {
            let bytes = LittleEndianBytes(isKept ? address : [])
            return (0..<wordCount).map { bytes.uint32(4 * $0) }
        }
        return FileImage.entry(
            .inetSocket, id: id, field: 4,
            ProtobufMessage { entry in
                entry.unsigned(1, id)
                entry.unsigned(2, UInt32(truncatingIfNeeded: socket.inode))
                entry.unsigned(3, socket.family)
                entry.unsigned(4, socket.type)
                entry.unsigned(5, socket.transport)
                entry.unsigned(6, state)
                entry.unsigned(7, UInt32(isBound ? socket.sourcePort : 0))
                entry.unsigned(8, UInt32(keepsPeer ? socket.destinationPort : 0))
                entry.unsigned(9, FileImage.reopenFlags(file.flags))
                entry.unsigned(10, state == State.listen.rawValue ? socket.backlog : 0)
                entry.repeated(11, words(socket.sourceAddress, when: isBound))
                entry.repeated(12, words(socket.destinationAddress, when: keepsPeer))
                entry.message(13, FileImage.fileOwner(file.owner))
                entry.message(14, options(socket.options))
                if socket.family == 10 { entry.flag(15, socket.isIPv6Only) }
                entry.message(16) { own in
                    guard let raw = socket.raw else { return own.flag(1, socket.isFreeBind) }
                    own.message(4) { options in
                        if raw.hasOwnHeader { options.flag(1, true) }
                        if raw.isNeverReassembled { options.flag(2, true) }
                        options.repeated(4, raw.filter)
                    }
                }
                // bind(2) to an address of a link takes the number of that (needs_scope_id of criu/sk-inet.c).
                if isBound, socket.isBoundToLink, let device = socket.options.boundDevice { entry.data(17, device.bytes) }
                if let network { entry.unsigned(18, network) }
                if socket.shutdown != [], isDatagram || isBound { entry.unsigned(19, socket.shutdown.rawValue) }
            })
    }

    /// `tcp_stream_entry` of images/tcp-stream.proto; the bytes of both queues come after it.
    static func stream(_ connection: TCPConnection) -> ProtobufMessage {
        // TCPI_OPT_TIMESTAMPS, TCPI_OPT_SACK, TCPI_OPT_WSCALE (include/uapi/linux/tcp.h)
        var options: UInt32 = 0
        if connection.usesTimestamps { options |= 1 }
        if connection.usesSelectiveAcknowledgments { options |= 2 }
        if connection.usesWindowScales { options |= 4 }
        return ProtobufMessage { entry in
            entry.unsigned(1, UInt32(clamping: connection.receiveQueue.count))
            entry.unsigned(2, connection.receiveNext)
            entry.unsigned(3, UInt32(clamping: connection.sendQueue.count))
            entry.unsigned(4, connection.writeNext)
            entry.unsigned(5, options)
            entry.unsigned(6, connection.usesWindowScales ? connection.sendWindowScale : 0)
            entry.unsigned(7, connection.maximumSegmentSize)
            if connection.usesWindowScales { entry.unsigned(8, connection.receiveWindowScale) }
            if connection.usesTimestamps { entry.unsigned(9, connection.timestamp) }
            if connection.isCorked { entry.flag(10, true) }
            if connection.isNoDelay { entry.flag(11, true) }
            entry.unsigned(12, UInt32(clamping: connection.unsentBytes))
            entry.unsigned(13, connection.window.sendUpdate)
            entry.unsigned(14, connection.window.send)
            entry.unsigned(15, connection.window.largest)
            entry.unsigned(16, connection.window.receive)
            entry.unsigned(17, connection.window.receiveUpdate)
        }
    }

    /// `sk_opts_entry`.
    static func options(_ options: SocketOptions) -> ProtobufMessage {
        ProtobufMessage { entry in
            entry.unsigned(1, options.sendBuffer)
            entry.unsigned(2, options.receiveBuffer)
            entry.unsigned(3, options.sendTimeoutMicroseconds / 1_000_000)
            entry.unsigned(4, options.sendTimeoutMicroseconds % 1_000_000)
            entry.unsigned(5, options.receiveTimeoutMicroseconds / 1_000_000)
            entry.unsigned(6, options.receiveTimeoutMicroseconds % 1_000_000)
            entry.flag(7, options.reuseAddress)
            entry.unsigned(8, options.priority)
            entry.unsigned(9, options.receiveLowWater)
            entry.unsigned(10, options.mark)
            // Not even to be turned off by sockets that do not know them (since 6.16 all but unix and netlink ones).
            if options.passesCredentials { entry.flag(11, true) }
            if options.passesSecurity { entry.flag(12, true) }
            if options.avoidsRouters { entry.flag(13, true) }
            if options.omitsChecksums { entry.flag(14, true) }
            if let device = options.boundDevice { entry.data(15, device.bytes) }
            for instruction in options.filter { entry.fixed64(16, instruction.imageValue) }
            entry.flag(17, options.reusePort)
            entry.flag(18, options.isBroadcast)
            entry.flag(19, options.keepsAlive)
            if let count = options.keepAliveCount { entry.unsigned(20, count) }
            if let idle = options.keepAliveIdleSeconds { entry.unsigned(21, idle) }
            if let interval = options.keepAliveIntervalSeconds { entry.unsigned(22, interval) }
            if options.outOfBandInline { entry.unsigned(23, UInt32(1)) }
            if let linger = options.lingerSeconds { entry.unsigned(24, linger) }
            if let locks = options.bufferLocks { entry.unsigned(25, locks) }
        }
    }

    /// `sk_packet_entry` for one message of a receive queue.
    ///
    /// - Parameter files: the entries of the files that travel with it.
    static func queued(_ message: UnixSocket.Message, receiver: UInt32, files: [UInt32]) -> ProtobufMessage {
        ProtobufMessage { entry in
            entry.unsigned(1, receiver)
            entry.unsigned(2, UInt32(clamping: message.bytes.count))
            guard !files.isEmpty else { return }
            entry.message(4) { control in
                // SCM_RIGHTS
                control.unsigned(1, UInt32(1))
                control.repeated(2, files)
            }
        }
    }
}

extension UnixSocket {
    static let datagram: UInt32 = 2

    /// The end of a stream that remains of a connection: unix_release_sock has shut both its directions down.
    var isHalfClosed: Bool { state == .connected && type != Self.datagram && peer == .closed && shutdown == [.receive, .send] }
}

extension UnixSocket.Address {
    /// `sizeof(sun_path)`, UNIX_PATH_MAX.
    static let nameLimit = 108

    var isAbstract: Bool { name.bytes.first == 0 || name.bytes.isEmpty }
}

extension FilterInstruction {
    /// As CRIU puts an instruction into one number (encode_filter of criu/sockets.c).
    var imageValue: UInt64 {
        UInt64(code) << 48 | UInt64(jumpIfTrue) << 40 | UInt64(jumpIfFalse) << 32 | UInt64(operand)
    }

    /// `struct sock_filter` as it lies in memory.
    var bytes: [UInt8] {
        [UInt8(truncatingIfNeeded: code), UInt8(truncatingIfNeeded: code >> 8), jumpIfTrue, jumpIfFalse]
            + (0..<4).map { UInt8(truncatingIfNeeded: operand >> UInt32(8 * $0)) }
    }
}

extension InetSocket {
    /// An address of IPv6 that means something on one link only (fe80::/10).
    fileprivate var isBoundToLink: Bool {
        sourceAddress.count == 16 && sourceAddress[0] == 0xfe && sourceAddress[1] & 0xc0 == 0x80
    }
}
