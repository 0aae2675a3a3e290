import ProcessModel

/// Judges the TCP connections of a group against each other: whether the other end comes back too.
struct TCPAssessor: Sendable {
    /// An address, an IPv4 one as IPv6 sees it, and a port.
    private struct Endpoint: Hashable {
        var address: [UInt8]
        var port: UInt16

        init(_ address: [UInt8], _ port: UInt16) {
            self.address = address.count == 4 ? [UInt8](repeating: 0, count: 10) + [0xff, 0xff] + address : address
            self.port = port
        }

        /// 127.0.0.0/8 or ::1.
        var isLoopback: Bool {
            guard address.count == 16 else { return false }
            if address.prefix(10).allSatisfy({ $0 == 0 }), address[10] == 0xff, address[11] == 0xff {
                return address[12] == 127
            }
            return address.dropLast().allSatisfy { $0 == 0 } && address[15] == 1
        }
    }

    private struct Ends: Hashable {
        var source: Endpoint
        var destination: Endpoint
        /// The same addresses mean others elsewhere.
        var network: UInt32

        init(_ socket: InetSocket) {
            source = Endpoint(socket.sourceAddress, socket.sourcePort)
            destination = Endpoint(socket.destinationAddress, socket.destinationPort)
            network = socket.options.networkNamespace
        }

        var reversed: Ends {
            var ends = self
            swap(&ends.source, &ends.destination)
            return ends
        }
    }

    private var inside: Set<Ends> = []

    /// - Parameter sockets: those that descriptors of the group lead to.
    init(_ sockets: [InetSocket]) {
        for socket in sockets where socket.connection.map({ $0.state != State.close }) ?? false { inside.insert(Ends(socket)) }
    }

    /// States of `include/net/tcp_states.h`.
    private enum State {
        static let synSent: UInt32 = 2
        static let close: UInt32 = 7
        static let closeWait: UInt32 = 8
        static let lastAck: UInt32 = 9
    }

    /// Why a connection is cut; nil: it goes on where it was.
    func concern(_ socket: InetSocket) -> String? {
        guard let connection = socket.connection else {
            return socket.connectionObstacle ?? "it could not be read"
        }
        let ends = Ends(socket)
        guard ends.source == ends.destination || ends.source.address == ends.destination.address || ends.destination.isLoopback
        else { return "its other end is on another machine" }
        switch connection.state {
        // An attempt goes on, whoever listens now; what has ended needs nobody.
        case State.synSent, State.close: return nil
        // All that the other end sent is here, and nothing is on its way to it: it may be gone, as it may have been before.
        case State.closeWait where connection.sendQueue.isEmpty: return nil
        // Both ends have said that they are done, and the other one may have no socket any more (TIME_WAIT).
        case State.lastAck where connection.sendQueue.isEmpty: return nil
        default: return inside.contains(ends.reversed) ? nil : "its other end is outside the group or could not be saved"
        }
    }
}
