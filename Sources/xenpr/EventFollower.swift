import DaemonAPI
import FlyingSocks
import Foundation

/// Follows the daemon's events line by line as they come. (FlyingFox's client hands a response out only when it has ended,
/// which this one never does.)
struct EventFollower {
    let socket: String
    /// Longer lines are not the daemon's.
    private static let lineLimit = 1 << 20

    /// Calls `each` for every event; returns when the daemon ends.
    func run(_ each: (EventDocument) throws -> Void) async throws {
        let connection: AsyncSocket
        do {
            connection = try await AsyncSocket.connected(to: .unix(path: socket))
            try await connection.write(Data("GET /v1/events HTTP/1.1\r\nHost: xenprd\r\n\r\n".utf8))
        } catch {
            throw CommandFailure.noDaemon(at: socket)
        }
        defer { try? connection.close() }
        var lines = ChunkedLines()
        while let bytes = try? await connection.read(atMost: 16384), !bytes.isEmpty {
            for line in try lines.feed(bytes) {
                try each(try WireCoding.decode(Schema<EventDocument>.self, from: line).body)
            }
            guard lines.pendingBytes <= Self.lineLimit else {
                throw CommandFailure("cannot follow xenprd: its events have no end")
            }
        }
    }
}

/// Takes a chunked HTTP response (RFC 9112, 7.1) apart as its bytes come in.
struct ChunkedLines {
    private enum Expectation {
        case header
        case size
        case data(Int)
        case chunkEnd(Int)
    }

    private var expectation = Expectation.header
    private var text: [UInt8] = []
    private var line = Data()

    var pendingBytes: Int { text.count + line.count }

    /// The lines of the body that are complete with these bytes.
    mutating func feed(_ bytes: [UInt8]) throws -> [Data] {
        var complete: [Data] = []
        for byte in bytes {
            switch expectation {
            case .header:
                text.append(byte)
                if text.suffix(4) == [13, 10, 13, 10] {
                    guard text.starts(with: Array("HTTP/1.1 200 ".utf8)) else {
                        throw CommandFailure(
                            "cannot follow xenprd: it answered \(String(decoding: text.prefix(40), as: UTF8.self))")
                    }
                    text = []
                    expectation = .size
                }
            case .size:
                text.append(byte)
                guard byte == UInt8(ascii: "\n") else { continue }
                guard let size = Int(String(decoding: text.dropLast(2), as: UTF8.self), radix: 16), size >= 0 else {
                    throw CommandFailure("cannot follow xenprd: its answer is not in chunks")
                }
                text = []
                expectation = size == 0 ? .chunkEnd(2) : .data(size)
            case .data(let left):
                if byte == UInt8(ascii: "\n") {
                    if !line.isEmpty { complete.append(line) }
                    line = Data()
                } else {
                    line.append(byte)
                }
                expectation = left == 1 ? .chunkEnd(2) : .data(left - 1)
            case .chunkEnd(let left):
                expectation = left == 1 ? .size : .chunkEnd(left - 1)
            }
        }
        return complete
    }
}
