/// The part of a page that is decompressed already, of which what follows repeats pieces.
struct PageOutput {
    private(set) var bytes: [UInt8] = []

    init() { bytes.reserveCapacity(PageDecompressor.pageSize) }

    private func checkRoom(for count: Int) throws(CompressionFault) {
        guard count <= PageDecompressor.pageSize - bytes.count else {
            throw CompressionFault("decompresses to more than a page")
        }
    }

    mutating func append(_ literals: ArraySlice<UInt8>) throws(CompressionFault) {
        try checkRoom(for: literals.count)
        bytes.append(contentsOf: literals)
    }

    mutating func appendZeros(_ count: Int) throws(CompressionFault) {
        try checkRoom(for: count)
        bytes.append(contentsOf: repeatElement(0, count: count))
    }

    /// Repeats what begins `distance` bytes before the end, which may be less than `count`: then it repeats itself.
    mutating func repeatBytes(from distance: Int, count: Int) throws(CompressionFault) {
        try checkRoom(for: count)
        guard distance >= 1, distance <= bytes.count else { throw CompressionFault("repeats what is before the page's start") }
        let start = bytes.count - distance
        if count <= distance {
            bytes.append(contentsOf: bytes[start..<start + count])
        } else {
            for index in start..<start + count { bytes.append(bytes[index]) }
        }
    }
}
