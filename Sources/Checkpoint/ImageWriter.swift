/// One image file being written: its header, then {length, message} for each entry.
struct ImageWriter: ~Copyable {
    private var file: OutputFile

    init(_ kind: ImageKind, name: String, in directory: OutputDirectory) throws(CheckpointError) {
        file = try OutputFile(creating: name + ".img", beginningWith: kind.header, in: directory)
    }

    mutating func append(_ message: ProtobufMessage) throws(CheckpointError) {
        let size = UInt32(clamping: message.bytes.count)
        try file.append((0..<4).map { UInt8(truncatingIfNeeded: size >> (8 * UInt32($0))) })
        try file.append(message.bytes)
    }

    /// What follows the message of pipe data, socket queues and ghost files.
    mutating func append(payload: [UInt8]) throws(CheckpointError) {
        try file.append(payload)
    }

    mutating func append(pieces: [UnsafeRawBufferPointer]) throws(CheckpointError) {
        try unsafe file.append(pieces: pieces)
    }

    /// - Returns: the file's size in bytes.
    consuming func finish() throws(CheckpointError) -> UInt64 {
        try file.finish()
        return file.byteCount
    }
}
