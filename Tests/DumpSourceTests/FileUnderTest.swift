import DumpSource
import Foundation
import GuestMemory
import Testing

/// Bytes of files as tests make them.
extension FixedWidthInteger {
    var littleEndianBytes: [UInt8] { (0..<Self.bitWidth / 8).map { UInt8(truncatingIfNeeded: self >> Self($0 * 8)) } }
    var bigEndianBytes: [UInt8] { littleEndianBytes.reversed() }
}

extension [UInt8] {
    /// Overwrites what is at `offset`.
    func with<Value: FixedWidthInteger>(_ value: Value, at offset: Int) -> [UInt8] {
        var copy = self
        copy.replaceSubrange(offset..<offset + Value.bitWidth / 8, with: value.littleEndianBytes)
        return copy
    }

    func padded(to size: Int) -> [UInt8] { self + Array(repeating: 0, count: Swift.max(0, size - count)) }
}

/// A page that tells which frame it belongs to, and can be compressed.
func page(_ frame: UInt64) -> [UInt8] {
    let mark = UInt8(truncatingIfNeeded: frame &* 7 &+ 1)
    return (0..<FrameNumber.size).map { $0 % 3 == 0 ? mark : UInt8(truncatingIfNeeded: $0 / 256) }
}

/// Opens a dump with these bytes; its file goes when `body` ends.
func withDump<Result>(_ bytes: [UInt8], _ body: (DumpFile) throws -> Result) throws -> Result {
    let file = FileManager.default.temporaryDirectory.appendingPathComponent("xenpr-\(UUID().uuidString)")
    try Data(bytes).write(to: file)
    defer { try? FileManager.default.removeItem(at: file) }
    return try body(try DumpFile(path: file.path))
}

/// A file that is no dump, and what has to be said of it.
struct NoDump: Sendable, CustomTestStringConvertible {
    var file: [UInt8]
    var reason: String

    init(_ file: [UInt8], _ reason: String) {
        self.file = file
        self.reason = reason
    }

    var testDescription: String { reason }

    func check() throws {
        let refusal = try #require(throws: DumpError.self) { try withDump(file) { _ throws in } }
        #expect(refusal.description.contains(reason), "\(refusal)")
    }
}

extension DumpFile {
    func bytes(at address: UInt64, count: Int) throws -> [UInt8] {
        var buffer = [UInt8](repeating: 0, count: count)
        // The buffer lives during the call.
        try unsafe buffer.withUnsafeMutableBytes { try unsafe read(PhysicalAddress(address), into: $0) }
        return buffer
    }

    func copy(_ frames: [UInt64]) throws -> [UInt8] {
        var buffer = [UInt8](repeating: 0, count: frames.count * FrameNumber.size)
        // The buffer lives during the call, and has a frame's size for each of them.
        try unsafe buffer.withUnsafeMutableBytes { try unsafe copy(frames.map { FrameNumber($0) }[...], into: $0) }
        return buffer
    }
}
