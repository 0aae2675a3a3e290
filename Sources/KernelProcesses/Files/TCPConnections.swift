import GuestMemory
import KernelObjects
import ProcessModel

extension FileReader {
    /// TCP_SYN_SENT, TCP_CLOSE (include/net/tcp_states.h).
    private static let synSent: UInt32 = 2
    private static let closed: UInt32 = 7
    /// The states in which a socket that a program holds can be made anew: not SYN_RECV and NEW_SYN_RECV, which only a listener knows.
    private static let restorableStates: Set<UInt32> = [1, 2, 4, 5, 7, 8, 9, 11]
    /// TCPHDR_FIN, TCPHDR_SYN.
    private static let finFlag: UInt64 = 1
    private static let synFlag: UInt64 = 2

    /// Reads the connection of the `struct tcp_sock` at `sock`, or notes why it cannot go on.
    func readConnection(of sock: VirtualAddress, state: UInt32, into inet: inout InetSocket) {
        guard let layout = layout.sockets.tcp else {
            inet.connectionObstacle = "this kernel keeps connections in a way that is not known"
            return
        }
        do throws(MemoryFault) {
            if let obstacle = try obstacle(to: sock, state: state, layout) {
                inet.connectionObstacle = obstacle
                return
            }
            inet.connection = try connection(of: sock, state: state, layout)
            // A connection that has ended has given its port back (`inet_num`) and keeps its name.
            inet.sourcePort = UInt16(truncatingIfNeeded: try kernel.value(layout.sourcePort, of: sock)).byteSwapped
            guard inet.sourcePort == 0 else { return }
            inet.connection = nil
            inet.connectionObstacle = "it has no port"
        } catch {
            inet.connectionObstacle = "it could not be read: \(error)"
        }
    }

    private func obstacle(to sock: VirtualAddress, state: UInt32, _ layout: TCPLayout) throws(MemoryFault) -> String? {
        guard Self.restorableStates.contains(state) else { return "its handshake was under way" }
        if try kernel.value(layout.error, of: sock) != 0 { return "an error of it was not yet told to the program" }
        if let upper = layout.upperProtocol, try !kernel.pointer(upper, of: sock).isNull {
            return "the kernel worked on its contents (TLS or another protocol above TCP)"
        }
        for signature in layout.signatures where try !kernel.pointer(signature, of: sock).isNull {
            return "its segments are signed"
        }
        if try kernel.value(layout.repair, of: sock) != 0 { return "it was being saved or restored by someone" }
        if try kernel.value(layout.urgentData, of: sock) != 0 { return "urgent data had arrived" }
        if let microseconds = layout.microsecondTimestamps, try kernel.value(microseconds, of: sock) != 0 {
            return "its timestamps count microseconds"
        }
        if let timeout = layout.userTimeout, try kernel.value(timeout, of: sock) != 0 {
            return "it has a time limit (TCP_USER_TIMEOUT)"
        }
        return nil
    }

    private func connection(of sock: VirtualAddress, state: UInt32, _ layout: TCPLayout) throws(MemoryFault) -> TCPConnection {
        var connection = TCPConnection(state: state)
        connection.receiveNext = try kernel.uint32(layout.receiveNext, of: sock)
        connection.writeNext = try kernel.uint32(layout.writeNext, of: sock)
        connection.usesTimestamps = try kernel.value(layout.hasTimestamps, of: sock) != 0
        connection.usesSelectiveAcknowledgments = try kernel.value(layout.hasSelectiveAcknowledgments, of: sock) != 0
        connection.usesWindowScales = try kernel.value(layout.hasWindowScales, of: sock) != 0
        connection.sendWindowScale = try kernel.uint32(layout.sendWindowScale, of: sock)
        connection.receiveWindowScale = try kernel.uint32(layout.receiveWindowScale, of: sock)
        connection.maximumSegmentSize = try kernel.uint32(layout.maximumSegmentSize, of: sock)
        // tcp_time_stamp: milliseconds of CLOCK_MONOTONIC, whatever time namespace the program is in.
        let milliseconds = UInt32(truncatingIfNeeded: clocks.monotonicNanoseconds / 1_000_000)
        connection.timestamp = milliseconds &+ (try kernel.uint32(layout.timestampOffset, of: sock))
        // TCP_NAGLE_OFF, TCP_NAGLE_CORK
        let nagle = try kernel.value(layout.nagle, of: sock)
        connection.isNoDelay = nagle & 1 != 0
        connection.isCorked = nagle & 2 != 0
        connection.window.sendUpdate = try kernel.uint32(layout.sendUpdate, of: sock)
        connection.window.send = try kernel.uint32(layout.sendWindow, of: sock)
        connection.window.largest = try kernel.uint32(layout.largestWindow, of: sock)
        connection.window.receive = try kernel.uint32(layout.receiveWindow, of: sock)
        connection.window.receiveUpdate = try kernel.uint32(layout.receiveUpdate, of: sock)
        guard state != Self.synSent else { return connection }
        let received = try buffers(onQueue: sock + self.layout.sockets.receiveQueue.offset)
        connection.receiveQueue = try stream(
            of: received, from: try kernel.uint32(layout.copied, of: sock), to: connection.receiveNext, layout)
        // What a connection that has ended had still to send is lost to everybody.
        if state != Self.closed { try readSendQueue(of: sock, into: &connection, layout) }
        return connection
    }

    private func readSendQueue(of sock: VirtualAddress, into connection: inout TCPConnection, _ layout: TCPLayout)
        throws(MemoryFault)
    {
        let start = try kernel.uint32(layout.unacknowledged, of: sock)
        let sent = try kernel.uint32(layout.sendNext, of: sock)
        var segments: [VirtualAddress] = []
        if let fault = kernel.forEach(
            inRedBlackTree: sock + layout.retransmitQueue.offset, link: layout.treeNode, layout: layout.tree,
            limit: Self.socketBufferLimit, { segments.append($0) })
        {
            throw fault
        }
        segments += try buffers(onQueue: sock + layout.writeQueue.offset)
        connection.sendQueue = try stream(of: segments, from: start, to: connection.writeNext, layout)
        let sentBytes = Int(sent &- start)
        guard sentBytes <= connection.writeNext &- start else {
            throw MemoryFault(.damaged("connection that has sent more than was written"), at: sock)
        }
        connection.unsentBytes = max(0, connection.sendQueue.count - sentBytes)
    }

    /// The bytes of the stream from one sequence number to another, out of segments in order. SYN and FIN take a number and no byte.
    private func stream(of segments: [VirtualAddress], from start: UInt32, to end: UInt32, _ layout: TCPLayout)
        throws(MemoryFault) -> [UInt8]
    {
        var bytes: [UInt8] = []
        var next = start
        for segment in segments {
            let sequence = try kernel.uint32(layout.sequence, of: segment)
            let segmentEnd = try kernel.uint32(layout.endSequence, of: segment)
            let flags = try kernel.value(layout.flags, of: segment)
            let isFirst = flags & Self.synFlag != 0
            let total = Int(segmentEnd &- sequence)
            let count = total - (isFirst ? 1 : 0) - (flags & Self.finFlag != 0 ? 1 : 0)
            guard total <= Self.queueLimit, count >= 0 else {
                throw MemoryFault(.damaged("segment of \(total) bytes"), at: segment)
            }
            // Already read or acknowledged.
            let done = Int(Int32(bitPattern: next &- sequence))
            if done >= total { continue }
            guard done >= 0 else { throw MemoryFault(.damaged("gap of \(-done) bytes in a stream"), at: segment) }
            let payload = try contents(ofBuffer: segment, depth: 0)
            // A write that was under way may have put more there than it has accounted for.
            guard payload.count >= count, bytes.count + count <= Self.queueLimit else {
                throw MemoryFault(.damaged("segment with \(payload.count) of \(count) bytes"), at: segment)
            }
            bytes += payload[..<count].dropFirst(isFirst ? max(0, done - 1) : done)
            next = segmentEnd
        }
        guard next == end else {
            throw MemoryFault(
                .damaged("stream that ends \(Int32(bitPattern: end &- next)) bytes early"), at: segments.last ?? .null)
        }
        return bytes
    }
}
