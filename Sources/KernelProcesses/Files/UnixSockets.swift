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
    static let streamType: UInt32 = 1
    static let datagramType: UInt32 = 2
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
        let credentials = try kernel.pointer(fields.peerCredentials, of: sock)
        if !credentials.isNull {
            unix.peerIdentity = UnixSocket.Identity(
                uid: try kernel.uint32(fields.effectiveUID, of: credentials),
                gid: try kernel.uint32(fields.effectiveGID, of: credentials))
        }
        let queue = sock + fields.receiveQueue.offset
        if state == .listening {
            unix.backlog = try kernel.uint32(fields.backlog, of: sock)
            let waiting = try buffers(onQueue: queue)
            unix.waitingConnections = UInt32(truncatingIfNeeded: waiting.count)
            // The buffer that waits on a listener belongs to the new socket, which has no file yet.
            for buffer in waiting {
                let connection = try kernel.pointer(fields.buffer.socket, of: buffer)
                waitingConnections[connection] = WaitingConnection(
                    listener: file, sent: try messages(onQueue: connection + fields.receiveQueue.offset, type: type))
            }
        } else {
            unix.receiveQueue = try messages(onQueue: queue, type: type)
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
        result.mountID = node.mountID
        (result.directory, result.renamedTo) = UnixSocket.Address.place(of: name, path: node.path.bytes)
        return result
    }

    /// What a `struct sock` is bound to, nil for nothing.
    func boundName(of sock: VirtualAddress) throws(MemoryFault) -> KernelString? {
        let fields = layout.sockets.unix
        let address = try kernel.pointer(fields.address, of: sock)
        guard !address.isNull else { return nil }
        let length = Int(try kernel.uint32(fields.addressLength, of: address))
        guard length > Self.familySize, length <= Self.familySize + Self.nameLimit + 1 else { return nil }
        let name = try kernel.memory.bytes(
            at: address + fields.addressName.offset + Self.familySize, count: length - Self.familySize)
        return KernelString(bytes: name.first == 0 ? name : Array(name.prefix { $0 != 0 }))
    }
}

extension UnixSocket.Address {
    private static let slash = UInt8(ascii: "/")

    /// From the name that a socket was bound to and the path of its file today: the directory in which a relative name was bound, and the path
    /// when the file was renamed.
    static func place(of name: [UInt8], path: [UInt8]) -> (directory: KernelString?, renamedTo: KernelString?) {
        if name.first == slash {
            // Directories may be symbolic links; the last part is what bind made.
            let isSame = name.split(separator: slash).last == path.split(separator: slash).last
            return (nil, isSame ? nil : KernelString(bytes: path))
        }
        var relative = name[...]
        while relative.starts(with: [UInt8(ascii: "."), slash]) { relative = relative.dropFirst(2).drop { $0 == slash } }
        guard path.count > relative.count, path.suffix(relative.count).elementsEqual(relative),
            path[path.count - relative.count - 1] == slash
        else { return (nil, KernelString(bytes: path)) }
        let directory = Array(path.dropLast(relative.count + 1))
        return (directory.isEmpty ? "/" : KernelString(bytes: directory), nil)
    }
}
