/// Compressed bytes, taken one after the other; more than there are is a fault.
struct CompressedInput {
    private let bytes: [UInt8]
    private(set) var position = 0

    init(_ bytes: [UInt8]) {
        self.bytes = bytes
    }

    var remaining: Int { bytes.count - position }

    mutating func byte() throws(CompressionFault) -> Int {
        guard remaining >= 1 else { throw .cutShort }
        position += 1
        return Int(bytes[position - 1])
    }

    /// Two bytes, the lower one first.
    mutating func word() throws(CompressionFault) -> Int {
        let low = try byte()
        return try low | byte() << 8
    }

    /// What `word` would give, without taking it; nil near the end.
    var nextWord: Int? {
        remaining >= 2 ? Int(bytes[position]) | Int(bytes[position + 1]) << 8 : nil
    }

    mutating func take(_ count: Int) throws(CompressionFault) -> ArraySlice<UInt8> {
        guard count <= remaining else { throw .cutShort }
        position += count
        return bytes[position - count..<position]
    }

    /// What follows a length that did not fit its bits: bytes that are added to it, as long as they are `full`. That many bytes are there at most,
    /// so the sum is small.
    mutating func lengthBeyond(_ start: Int, full: Int, worth: Int) throws(CompressionFault) -> Int {
        var length = start
        while true {
            let byte = try byte()
            guard byte == full else { return length + byte }
            length += worth
        }
    }
}

extension CompressionFault {
    static let cutShort = CompressionFault("compressed data ends too early")
}
