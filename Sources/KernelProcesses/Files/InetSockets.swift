import GuestMemory
import KernelObjects
import ProcessModel

extension FileReader {
    private static let tcp: UInt32 = 6
    private static let udp: UInt32 = 17
    private static let udpLite: UInt32 = 136
    private static let rawType: UInt32 = 3

    func inetSocket(at sock: VirtualAddress, socket: VirtualAddress, family: UInt32) throws(MemoryFault) -> InetSocket {
        let fields = layout.sockets
        let rawState = try kernel.value(fields.state, of: sock)
        let state: InetSocket.State =
            switch rawState {
            case SocketState.closed: .closed
            case SocketState.listening: .listening
            case SocketState.established: .established
            default: .other(SocketState.names[rawState] ?? "state \(rawState)")
            }
        var inet = InetSocket(
            family: family, type: try kernel.uint32(fields.type, of: socket),
            transport: try kernel.uint32(fields.protocolNumber, of: sock) & 0xffff, state: state,
            inode: try inodeNumber(ofSocket: socket))
        try readAddresses(of: sock, into: &inet)
        inet.shutdown = SocketShutdown(rawValue: UInt32(truncatingIfNeeded: try kernel.value(fields.shutdown, of: sock) & 3))
        inet.options = try options(of: sock, socket: socket)
        inet.isIPv6Only = try kernel.value(fields.inet.isIPv6Only, of: sock) != 0
        if let freeBind = fields.inet.freeBind {
            inet.isFreeBind = try kernel.value(freeBind, of: sock) != 0
        } else if let flags = fields.inet.flags, fields.inet.freeBindBit < 64 {
            inet.isFreeBind = try kernel.value(flags, of: sock) >> fields.inet.freeBindBit & 1 == 1
        }
        if state == .listening {
            inet.backlog = try kernel.uint32(fields.backlog, of: sock)
            inet.queuedItems = try kernel.uint32(fields.pendingConnections, of: sock)
        } else {
            inet.queuedItems = try kernel.uint32(fields.receiveQueueLength, of: sock)
        }
        if inet.transport == Self.udp, let length = fields.inet.readerQueueLength {
            inet.queuedItems = inet.queuedItems &+ (try kernel.uint32(length, of: sock))
        }
        if inet.type == 2, inet.transport == Self.udp || inet.transport == Self.udpLite {
            inet.isCorked = try isCorked(sock)
        }
        inet.hasMemberships = try hasMemberships(sock)
        if inet.type != 1 { inet.choosesMulticastDevice = try choosesMulticastDevice(sock) }
        if inet.type == Self.rawType { inet.raw = try layout.sockets.raw?.options(of: sock, socket: inet, kernel) }
        let isTCP = inet.transport == Self.tcp && inet.type != Self.rawType
        inet.options.late += try layout.sockets.inetOptions.late(
            of: sock, isTCP: isTCP, isConnected: state != .listening && inet.destinationPort != 0, isIPv6: inet.family == 10,
            kernel)
        if isTCP {
            try readKeepAlive(of: sock, into: &inet.options)
            if state != .listening, inet.destinationPort != 0 {
                readConnection(of: sock, state: UInt32(truncatingIfNeeded: rawState), into: &inet)
            }
        }
        return inet
    }

    /// Whether a datagram is being put together from several writes (UDP_CORK, MSG_MORE).
    private func isCorked(_ sock: VirtualAddress) throws(MemoryFault) -> Bool {
        let fields = layout.sockets.inet
        if let pending = fields.udpPending, try kernel.value(pending, of: sock) != 0 { return true }
        if let cork = fields.udpCork { return try kernel.value(cork, of: sock) != 0 }
        guard let flags = fields.udpFlags, fields.udpCorkBit < 64 else { return false }
        return try kernel.value(flags, of: sock) >> fields.udpCorkBit & 1 == 1
    }

    private func hasMemberships(_ sock: VirtualAddress) throws(MemoryFault) -> Bool {
        let fields = layout.sockets.inet
        if let list = fields.memberships, try !kernel.pointer(list, of: sock).isNull { return true }
        guard let inet6 = fields.inet6, let list = fields.memberships6 else { return false }
        let part = try kernel.pointer(inet6, of: sock)
        guard !part.isNull else { return false }
        return try !kernel.pointer(list, of: part).isNull
    }

    /// A TCP connection keeps other numbers there.
    private func choosesMulticastDevice(_ sock: VirtualAddress) throws(MemoryFault) -> Bool {
        let fields = layout.sockets.inet
        for field in [fields.multicastDevice, fields.multicastAddress] {
            if let field, try kernel.value(field, of: sock) != 0 { return true }
        }
        guard let inet6 = fields.inet6, let device = fields.multicastDevice6 else { return false }
        let part = try kernel.pointer(inet6, of: sock)
        guard !part.isNull else { return false }
        return try kernel.value(device, of: part) != 0
    }

    private func readAddresses(of sock: VirtualAddress, into inet: inout InetSocket) throws(MemoryFault) {
        let fields = layout.sockets.inet
        inet.sourcePort = UInt16(truncatingIfNeeded: try kernel.value(fields.sourcePort, of: sock))
        inet.destinationPort = UInt16(truncatingIfNeeded: try kernel.value(fields.destinationPort, of: sock)).byteSwapped
        if inet.family == 10, let source = fields.sourceAddress6, let destination = fields.destinationAddress6 {
            inet.sourceAddress = try kernel.bytes(source, of: sock)
            inet.destinationAddress = try kernel.bytes(destination, of: sock)
        } else {
            inet.sourceAddress = try kernel.bytes(fields.sourceAddress, of: sock)
            inet.destinationAddress = try kernel.bytes(fields.destinationAddress, of: sock)
        }
    }

    /// 0 in `struct tcp_sock` is the system's default.
    private func readKeepAlive(of sock: VirtualAddress, into options: inout SocketOptions) throws(MemoryFault) {
        let fields = layout.sockets.inet
        let probes = try kernel.uint32(fields.keepAliveProbes, of: sock)
        if probes != 0 { options.keepAliveCount = probes }
        let idle = try kernel.value(fields.keepAliveTime, of: sock)
        if idle != 0 { options.keepAliveIdleSeconds = UInt32(clamping: idle / ticksPerSecond) }
        let interval = try kernel.value(fields.keepAliveInterval, of: sock)
        if interval != 0 { options.keepAliveIntervalSeconds = UInt32(clamping: interval / ticksPerSecond) }
    }
}
