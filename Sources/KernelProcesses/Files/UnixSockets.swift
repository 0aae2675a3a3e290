import GuestMemory
import KernelObjects
import ProcessModel

/// `enum` of the states that unix sockets share with TCP (include/net/tcp_states.h).
enum SocketState {
    static let established: UInt64 = 1
    static let closed: UInt64 = 7
    static let listening: UInt64 = 10

    static let names: [UInt64: String] = [
        2: "SYN_SENT", 3: "SYN_RECV", 4: "FIN_WAIT1", 5: "FIN_WAIT2", 6: "TIME_WAIT", 8: "CLOSE_WAIT", 9: "LAST_ACK",
        11: "CLOSING", 12: "NEW_SYN_RECV",
    ]
}

extension FileReader {
    private static let streamType: UInt32 = 1
    private static let datagramType: UInt32 = 2
    /// `sizeof(sa_family_t)`: what an address has before its name.
    private static let familySize = 2
    /// The longest `sun_path`.
    private static let nameLimit = 108

    mutating func unixSocket(at sock: VirtualAddress, socket: VirtualAddress, file: FileID) throws(MemoryFault) -> UnixSocket {
        let fields = layout.sockets
        let type = try kernel.uint32(fields.type, of: socket)
        let peer = try kernel.pointer(fields.unix.peer, of: sock)
        let state: UnixSocket.State =
            switch try kernel.value(fields.state, of: sock) {
            case SocketState.listening: .listening
            // A datagram socket that others connected to is in this state too, without a peer of its own.
            case SocketState.established: type == Self.datagramType && peer.isNull ? .unconnected : .connected
            default: .unconnected
            }
        var unix = UnixSocket(type: type, state: state, inode: try inodeNumber(ofSocket: socket))
        unix.shutdown = SocketShutdown(rawValue: UInt32(truncatingIfNeeded: try kernel.value(fields.shutdown, of: sock) & 3))
        unix.options = try options(of: sock, socket: socket)
        unix.address = try unixAddress(of: sock)
        let queue = sock + fields.receiveQueue.offset
        if state == .listening {
            unix.backlog = try kernel.uint32(fields.backlog, of: sock)
            let waiting = try buffers(onQueue: queue)
            unix.waitingConnections = UInt32(truncatingIfNeeded: waiting.count)
            // The buffer that waits on a listener belongs to the new socket, which has no file yet.
            for buffer in waiting { listeners[try kernel.pointer(fields.buffer.socket, of: buffer)] = unix.inode }
        } else {
            unix.receiveQueue = try messages(onQueue: queue, isStream: type == Self.streamType)
        }
        // Whose it is shows when all files of the group are known.
        if !peer.isNull { unixPeers[file] = peer } else if state == .connected { unix.peer = .closed }
        return unix
    }

    private mutating func unixAddress(of sock: VirtualAddress) throws(MemoryFault) -> UnixSocket.Address? {
        let fields = layout.sockets.unix
        let address = try kernel.pointer(fields.address, of: sock)
        guard !address.isNull else { return nil }
        let length = Int(try kernel.uint32(fields.addressLength, of: address))
        guard length >= Self.familySize, length <= Self.familySize + Self.nameLimit + 1 else {
            throw MemoryFault(.damaged("unix socket address of \(length) bytes"), at: address)
        }
        var name = try kernel.memory.bytes(
            at: address + fields.addressName.offset + Self.familySize, count: length - Self.familySize)
        guard name.first != 0 else { return UnixSocket.Address(name: KernelString(bytes: name)) }
        name = Array(name.prefix { $0 != 0 })
        var result = UnixSocket.Address(name: KernelString(bytes: name))
        let path = sock + fields.path.offset
        guard try !kernel.pointer(layout.paths.pathDentry, of: path).isNull else { return result }
        let node = try node(ofPathAt: path)
        result.mode = node.mode
        result.uid = node.uid
        result.gid = node.gid
        result.isDeleted = node.isDeleted
        return result
    }
}
