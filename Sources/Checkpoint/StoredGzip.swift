/// A gzip file (RFC 1952) whose contents are stored, not compressed (RFC 1951, 3.2.4): what unpacks a tmpfs asks for the format, and the volume has room.
struct StoredGzip: ~Copyable {
    private var file: OutputFile
    private var block: [UInt8] = []
    private var sum = CRC32()
    private var size: UInt32 = 0

    /// The most bytes of a stored block.
    private static let blockLimit = 0xffff
    /// No name, no time, made on Unix.
    private static let header: [UInt8] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3]

    init(creating name: String, in directory: OutputDirectory) throws(CheckpointError) {
        file = try OutputFile(creating: name, beginningWith: Self.header, in: directory)
    }

    mutating func append(_ bytes: some Collection<UInt8>) throws(CheckpointError) {
        sum.add(bytes)
        size &+= UInt32(truncatingIfNeeded: bytes.count)
        block.append(contentsOf: bytes)
        while block.count > Self.blockLimit {
            try write(block.prefix(Self.blockLimit), isLast: false)
            block.removeFirst(Self.blockLimit)
        }
    }

    private mutating func write(_ bytes: some Collection<UInt8>, isLast: Bool) throws(CheckpointError) {
        let length = UInt16(truncatingIfNeeded: bytes.count)
        let words = [length, ~length].flatMap { [UInt8(truncatingIfNeeded: $0), UInt8(truncatingIfNeeded: $0 >> 8)] }
        try file.append([isLast ? 1 : 0] + words)
        try file.append(Array(bytes))
    }

    /// - Returns: the file's size in bytes.
    consuming func finish() throws(CheckpointError) -> UInt64 {
        try write(block, isLast: true)
        try file.append(
            [sum.value, size].flatMap { word in (0..<4).map { UInt8(truncatingIfNeeded: word >> (8 * UInt32($0))) } })
        try file.finish()
        return file.byteCount
    }
}
