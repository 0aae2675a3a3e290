/// An image file taken apart again: for tests, and for a look at what a checkpoint holds.
package struct ImageContents: Sendable {
    package struct Entry: Sendable {
        package var message: ProtobufFields
        /// What follows the message of pipe data, socket queues, TCP connections and ghost files.
        package var payload: [UInt8]
    }

    package var kind: ImageKind
    package var entries: [Entry]

    /// Why a file is no image.
    package enum Problem: Error, Sendable, Equatable {
        case unknownMagic
        case truncated(offset: Int)
        case damaged(ProtobufError)
    }

    package init(parsing bytes: [UInt8]) throws(Problem) {
        guard let (kind, headerLength) = ImageKind.recognize(bytes) else { throw .unknownMagic }
        self.kind = kind
        self.entries = []
        var position = headerLength
        while position < bytes.count {
            guard bytes.count - position >= 4 else { throw .truncated(offset: position) }
            let size = (0..<4).reduce(0) { $0 | Int(bytes[position + $1]) << (8 * $1) }
            position += 4
            guard size <= bytes.count - position else { throw .truncated(offset: position) }
            let message: ProtobufFields
            do { message = try ProtobufFields(parsing: Array(bytes[position..<position + size])) } catch {
                throw .damaged(error)
            }
            position += size
            let length = Self.payloadLength(kind, message, remaining: bytes.count - position)
            guard length <= bytes.count - position else { throw .truncated(offset: position) }
            entries.append(Entry(message: message, payload: Array(bytes[position..<position + length])))
            position += length
        }
    }

    private static func payloadLength(_ kind: ImageKind, _ message: ProtobufFields, remaining: Int) -> Int {
        switch kind {
        case .pipeData, .fifoData, .socketQueues: Int(clamping: message.number(2) ?? 0)
        case .ghostFile: remaining
        // Both queues, the one of what was received first.
        case .tcpStream: Int(clamping: (message.number(1) ?? 0) &+ (message.number(3) ?? 0))
        default: 0
        }
    }
}
