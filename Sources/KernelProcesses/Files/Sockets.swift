import GuestMemory
import KernelObjects
import ProcessModel

extension FileReader {
    private static let unixFamily: UInt32 = 1
    private static let inetFamily: UInt32 = 2
    private static let inet6Family: UInt32 = 10
    private static let netlinkFamily: UInt32 = 16
    private static let packetFamily: UInt32 = 17

    /// The socket at `address` (`struct socket *`), on which `file` is open.
    mutating func socket(at address: VirtualAddress, file: FileID) throws(MemoryFault) -> OpenFile.Kind {
        let sock = try kernel.pointer(layout.sockets.sock, of: address)
        guard !sock.isNull else { return .unsupported("socket that was never given a protocol") }
        sockets[sock] = file
        let family = try kernel.uint32(layout.sockets.family, of: sock)
        switch family {
        case Self.unixFamily: return .unixSocket(try unixSocket(at: sock, socket: address, file: file))
        case Self.inetFamily, Self.inet6Family: return .inetSocket(try inetSocket(at: sock, socket: address, family: family))
        case Self.netlinkFamily:
            guard let netlink = try netlinkSocket(at: sock, socket: address) else { break }
            return .netlinkSocket(netlink)
        case Self.packetFamily:
            guard let packet = try packetSocket(at: sock, socket: address) else { break }
            return .packetSocket(packet)
        default: break
        }
        return .unsupported(Self.name(ofFamily: family))
    }

    private static func name(ofFamily family: UInt32) -> String {
        switch family {
        case 15: "key management socket"
        case 16: "netlink socket"
        case 17: "packet socket"
        case 29: "CAN socket"
        case 31: "bluetooth socket"
        case 38: "kernel crypto socket"
        case 40: "vsock socket"
        case 44: "XDP socket"
        default: "socket of address family \(family)"
        }
    }

    /// Number of the inode that a `struct socket` is allocated with (SOCKET_I).
    func inodeNumber(ofSocket socket: VirtualAddress) throws(MemoryFault) -> UInt64 {
        let allocation = kernel.container(of: socket, layout.sockets.socketInAllocation)
        return try kernel.value(layout.inode.number, of: allocation + layout.sockets.inode.offset)
    }

    func options(of sock: VirtualAddress, socket: VirtualAddress) throws(MemoryFault) -> SocketOptions {
        let fields = layout.sockets.options
        var options = SocketOptions()
        options.networkNamespace = try networkNamespace(ofSocket: sock)
        options.sendBuffer = try kernel.uint32(fields.sendBuffer, of: sock)
        options.receiveBuffer = try kernel.uint32(fields.receiveBuffer, of: sock)
        // SOCK_SNDBUF_LOCK and SOCK_RCVBUF_LOCK; the other bits say what was bound.
        options.bufferLocks = fields.canLockBuffers ? try kernel.uint32(fields.bufferLocks, of: sock) & 3 : nil
        options.sendTimeoutMicroseconds = microseconds(ofTimeout: try kernel.signed(fields.sendTimeout, of: sock))
        options.receiveTimeoutMicroseconds = microseconds(ofTimeout: try kernel.signed(fields.receiveTimeout, of: sock))
        options.reuseAddress = try kernel.value(fields.reuse, of: sock) != 0
        options.reusePort = try kernel.value(fields.reusePort, of: sock) != 0
        options.priority = try kernel.uint32(fields.priority, of: sock)
        options.mark = try kernel.uint32(fields.mark, of: sock)
        options.receiveLowWater = try kernel.uint32(fields.receiveLowWater, of: sock)
        let filter = try kernel.pointer(fields.filter, of: sock)
        if !filter.isNull {
            let program = try kernel.classicProgram(
                of: kernel.pointer(fields.filterProgram, of: filter), layout: fields.classicProgram)
            options.filter = program ?? []
            options.hasUnsavedFilter = program == nil
        }
        options.pendingError = try kernel.int32(fields.error, of: sock)
        if let field = fields.omitsChecksums { options.omitsChecksums = try kernel.value(field, of: sock) != 0 }
        let flags = try kernel.value(fields.flags, of: sock)
        func isSet(_ bit: UInt64) -> Bool { bit < 64 && flags >> bit & 1 == 1 }
        options.outOfBandInline = isSet(fields.urgentInlineBit)
        options.keepsAlive = isSet(fields.keepOpenBit)
        options.isBroadcast = isSet(fields.broadcastBit)
        options.avoidsRouters = isSet(fields.localRouteBit)
        options.locksFilter = fields.filterLockedBit.map(isSet) ?? false
        if isSet(fields.lingerBit) {
            options.lingerSeconds = UInt32(clamping: try kernel.value(fields.lingerTime, of: sock) / ticksPerSecond)
        }
        (options.passesCredentials, options.passesSecurity) = try passes(of: sock, socket: socket)
        let device = try kernel.uint32(fields.boundDevice, of: sock)
        if device != 0 { options.boundDevice = KernelString(bytes: try deviceName(device, ofSocket: sock)) }
        let isUnix = try kernel.uint32(layout.sockets.family, of: sock) == Self.unixFamily
        options.late = try layout.sockets.generalOptions.late(of: sock, socket: socket, isUnix: isUnix, kernel)
        return options
    }

    /// SO_PASSCRED and SO_PASSSEC.
    private func passes(
        of sock: VirtualAddress, socket: VirtualAddress
    ) throws(MemoryFault) -> (credentials: Bool, security: Bool) {
        let fields = layout.sockets.options
        guard let credentials = fields.passesCredentials, let security = fields.passesSecurity else {
            // SOCK_PASSCRED is bit 3, SOCK_PASSSEC bit 4 (include/linux/net.h).
            let flags = try kernel.value(layout.sockets.flags, of: socket)
            return (flags >> 3 & 1 == 1, flags >> 4 & 1 == 1)
        }
        // The same byte is something else in other families (`sk_txrehash`), which no longer know these options.
        let family = try kernel.value(layout.sockets.family, of: sock)
        guard family == UInt64(Self.unixFamily) || family == UInt64(Self.netlinkFamily) else { return (false, false) }
        return (try kernel.value(credentials, of: sock) != 0, try kernel.value(security, of: sock) != 0)
    }

    /// HZ, from the length of a tick; 250 where the kernel does not tell.
    var ticksPerSecond: UInt64 {
        guard let tick = tickNanoseconds, tick >= 100_000, tick <= 20_000_000 else { return 250 }
        return (1_000_000_000 + tick / 2) / tick
    }

    private var tickNanoseconds: UInt64? {
        if let tick = (try? kernel.variable("tick_nsec")) ?? nil { return tick }
        guard let field = layout.sockets.tickLength, let data = kernel.symbols.addresses["tk_ntp_data"] else { return nil }
        return (try? kernel.value(field, of: data)).map { $0 >> 32 }
    }

    /// A socket's time limit in jiffies; MAX_SCHEDULE_TIMEOUT is none.
    private func microseconds(ofTimeout jiffies: Int64) -> UInt64 {
        guard jiffies > 0, jiffies < Int64.max / 1_000_000 else { return 0 }
        return UInt64(jiffies) * 1_000_000 / ticksPerSecond
    }
}
