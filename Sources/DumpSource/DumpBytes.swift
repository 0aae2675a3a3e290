import Glibc

/// Why a file cannot serve as a memory dump.
public struct DumpError: Error, Sendable, CustomStringConvertible {
    public var description: String
}

/// The bytes of a dump by their offset. What is read was written by others: every offset and length is checked.
///
/// A file in the flattened format (`makedumpfile -F`, and all that QEMU's `dump-guest-memory -z`, `-l` and `-s` write before it had `-R`) can be written to a
/// pipe: it is a list of pieces, each with the offset that it has in the dump itself. It is read as the dump that it describes, without being rearranged.
struct DumpBytes: Sendable {
    /// It belongs to whoever opened the file.
    let descriptor: Int32
    /// One past the last byte.
    let size: UInt64
    /// Nil for a file that is the dump itself. In the order of their offsets, without overlap.
    private let pieces: [Piece]?

    /// Bytes `start..<end` of the dump, which are at `position` in the file.
    private struct Piece {
        var start: UInt64
        var end: UInt64
        var position: UInt64
    }

    /// The format as makedumpfile has it (makedumpfile.h): a header of 4096 bytes that begins with this name, filled up with zeros, then pieces with an offset
    /// and a length before each, both big-endian, until both are -1.
    private static let flattenedName: [UInt8] = Array("makedumpfile".utf8) + [0, 0, 0, 0]
    private static let flattenedHeaderSize: UInt64 = 4096
    /// Pieces that are believed (24 MiB in memory). makedumpfile and QEMU write 16 KiB to 64 KiB at a time.
    private static let pieceLimit = 1 << 20

    init(descriptor: Int32) throws(DumpError) {
        var status = stat()
        // fstat fills the structure that it is given.
        guard unsafe fstat(descriptor, &status) == 0, let length = UInt64(exactly: status.st_size) else {
            throw DumpError(description: "its size is not known")
        }
        self.descriptor = descriptor
        guard Self.read(descriptor, at: 0, count: Self.flattenedName.count) == Self.flattenedName else {
            size = length
            pieces = nil
            return
        }
        let pieces = try Self.pieces(of: descriptor, length: length)
        size = pieces.last?.end ?? 0
        self.pieces = pieces
    }

    private static func pieces(of descriptor: Int32, length: UInt64) throws(DumpError) -> [Piece] {
        var pieces: [Piece] = []
        var position = flattenedHeaderSize
        while true {
            guard let header = read(descriptor, at: position, count: 16) else {
                throw DumpError(description: "it is flattened and was cut short: piece \(pieces.count + 1) is missing")
            }
            let start: UInt64 = header[0..<8].reduce(0) { $0 << 8 | UInt64($1) }
            let count: UInt64 = header[8..<16].reduce(0) { $0 << 8 | UInt64($1) }
            if start == .max, count == .max { break }
            position += 16
            guard count > 0, start <= UInt64(Int64.max), count <= length, position <= length - count else {
                throw DumpError(description: "it is flattened and piece \(pieces.count + 1) of it is damaged or was cut short")
            }
            guard pieces.count < pieceLimit else {
                throw DumpError(description: "it is flattened into too many pieces; 'makedumpfile -R' puts it together")
            }
            pieces.append(Piece(start: start, end: start + count, position: position))
            position += count
        }
        pieces.sort { $0.start < $1.start }
        for (lower, upper) in zip(pieces, pieces.dropFirst()) where upper.start < lower.end {
            throw DumpError(description: "it is flattened and has bytes twice; 'makedumpfile -R' puts it together")
        }
        return pieces
    }

    /// Whether the whole buffer could be read from `offset` on.
    func fill(_ buffer: UnsafeMutableRawBufferPointer, at offset: UInt64) -> Bool {
        guard UInt64(buffer.count) <= size, offset <= size - UInt64(buffer.count) else { return false }
        guard let pieces else { return unsafe Self.fill(buffer, from: descriptor, at: offset) }
        var done = 0
        while done < buffer.count {
            let wanted = offset + UInt64(done)
            guard let piece = Self.piece(behind: wanted, in: pieces) else { return false }
            // What no piece has is a hole of the rearranged file, and reads as zeros.
            let isHole = wanted < piece.start
            let length = Int(min(UInt64(buffer.count - done), (isHole ? piece.start : piece.end) - wanted))
            // `done` and `length` add up to at most the buffer's size.
            let part = unsafe UnsafeMutableRawBufferPointer(rebasing: buffer[done..<done + length])
            if isHole {
                unsafe part.initializeMemory(as: UInt8.self, repeating: 0)
            } else if unsafe !Self.fill(part, from: descriptor, at: piece.position + (wanted - piece.start)) {
                return false
            }
            done += length
        }
        return true
    }

    /// The first piece that ends behind `offset`.
    private static func piece(behind offset: UInt64, in pieces: [Piece]) -> Piece? {
        var low = 0
        var high = pieces.count
        while low < high {
            let middle = (low + high) / 2
            if pieces[middle].end <= offset { low = middle + 1 } else { high = middle }
        }
        return low < pieces.count ? pieces[low] : nil
    }

    /// - Returns: nil when they are not all there.
    /// - Parameter count: bounded by the caller.
    func bytes(at offset: UInt64, count: Int) -> [UInt8]? {
        guard count >= 0, UInt64(count) <= size else { return nil }
        var bytes = [UInt8](repeating: 0, count: count)
        // The array lives during the call.
        return unsafe bytes.withUnsafeMutableBytes { unsafe fill($0, at: offset) } ? bytes : nil
    }

    private static func read(_ descriptor: Int32, at position: UInt64, count: Int) -> [UInt8]? {
        var bytes = [UInt8](repeating: 0, count: count)
        // The array lives during the call.
        return unsafe bytes.withUnsafeMutableBytes { unsafe fill($0, from: descriptor, at: position) } ? bytes : nil
    }

    private static func fill(_ buffer: UnsafeMutableRawBufferPointer, from descriptor: Int32, at position: UInt64) -> Bool {
        guard var position = off_t(exactly: position) else { return false }
        var done = 0
        while done < buffer.count {
            // At most the rest of the buffer is written.
            let length = unsafe pread(descriptor, buffer.baseAddress?.advanced(by: done), buffer.count - done, position)
            if length < 0, errno == EINTR { continue }
            guard length > 0 else { return false }
            done += length
            position += off_t(length)
        }
        return true
    }
}

extension [UInt8] {
    /// The little-endian number at `offset`, which must be inside.
    func number<Value: FixedWidthInteger>(at offset: Int, as: Value.Type = Value.self) -> Value {
        self[offset..<offset + MemoryLayout<Value>.size].reversed().reduce(0) { $0 << 8 | Value(truncatingIfNeeded: $1) }
    }
}
