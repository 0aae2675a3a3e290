import Foundation
import GuestMemory
import Testing

@testable import DumpSource

/// ELF dumps as QEMU writes them, and files that only look like one.
@Suite struct FlatELFTests {
    /// A core with the given segments, each filled with bytes that tell where they belong.
    static func core(
        _ segments: [(start: UInt64, frames: Int)], offsets: [UInt64]? = nil, machine: UInt8 = 62, count: UInt16? = nil
    ) -> [UInt8] {
        func bytes<Value: FixedWidthInteger>(_ value: Value) -> [UInt8] {
            (0..<MemoryLayout<Value>.size).map { UInt8(truncatingIfNeeded: value >> Value($0 * 8)) }
        }
        var file: [UInt8] = [0x7f, 0x45, 0x4c, 0x46, 2, 1, 1] + Array(repeating: 0, count: 9)
        file += [4, 0, machine, 0] + bytes(UInt32(1)) + bytes(UInt64(0)) + bytes(UInt64(64)) + bytes(UInt64(0))
        file += bytes(UInt32(0)) + bytes(UInt16(64)) + bytes(UInt16(56)) + bytes(count ?? UInt16(segments.count))
        file += Array(repeating: 0, count: 6)
        var offset = UInt64(64 + 56 * segments.count)
        for (index, segment) in segments.enumerated() {
            let size = UInt64(segment.frames * FrameNumber.size)
            file += bytes(UInt32(1)) + bytes(UInt32(0)) + bytes(offsets?[index] ?? offset) + bytes(UInt64(0))
            file += bytes(segment.start) + bytes(size) + bytes(size) + bytes(UInt64(0))
            offset += size
        }
        for segment in segments {
            for frame in 0..<segment.frames {
                file += Array(repeating: mark(FrameNumber(segment.start >> 12 + UInt64(frame))), count: FrameNumber.size)
            }
        }
        return file
    }

    static func mark(_ frame: FrameNumber) -> UInt8 { UInt8(truncatingIfNeeded: frame.rawValue &* 7 &+ 1) }

    /// Opens a file with these bytes.
    static func open<Result>(_ bytes: [UInt8], _ body: (FlatMemory?) throws -> Result) throws -> Result {
        let file = FileManager.default.temporaryDirectory.appendingPathComponent("xenpr-\(UUID().uuidString)")
        try Data(bytes).write(to: file)
        defer { try? FileManager.default.removeItem(at: file) }
        let handle = try FileHandle(forReadingFrom: file)
        defer { try? handle.close() }
        let layout = FlatELF(descriptor: handle.fileDescriptor)
        return try body(layout.map { FlatMemory(FlatFile(layout: $0, descriptor: handle.fileDescriptor)) })
    }

    static func read(_ memory: FlatMemory?, _ address: UInt64, _ count: Int) throws -> [UInt8] {
        let memory = try #require(memory)
        var buffer = [UInt8](repeating: 0, count: count)
        // The buffer lives during the call.
        try unsafe buffer.withUnsafeMutableBytes { try unsafe memory.read(PhysicalAddress(address), into: $0) }
        return buffer
    }

    static func read(_ memory: FlatMemory?, _ frames: [UInt64]) throws -> [UInt8] {
        let memory = try #require(memory)
        var buffer = [UInt8](repeating: 0, count: frames.count * FrameNumber.size)
        // The buffer lives during the call.
        try unsafe buffer.withUnsafeMutableBytes { try unsafe memory.file.read(frames.map { FrameNumber($0) }[...], into: $0) }
        return buffer
    }

    @Test func readsFromTheSegmentOfAnAddress() throws {
        try Self.open(Self.core([(0x10_0000, 3), (0x1000, 2)])) { memory throws in
            #expect(try Self.read(memory, 0x1ff8, 8) == Array(repeating: Self.mark(FrameNumber(1)), count: 8))
            #expect(try Self.read(memory, 0x10_2000, 1) == [Self.mark(FrameNumber(0x102))])
            #expect(memory?.frameLimit == FrameNumber(0x103))
            // Twice, for the second time comes from the cache.
            #expect(try Self.read(memory, 0x1ff8, 8) == Array(repeating: Self.mark(FrameNumber(1)), count: 8))
        }
    }

    @Test func lendsFramesInTheirOrder() throws {
        try Self.open(Self.core([(0x1000, 2), (0x10_0000, 3)])) { memory throws in
            let bytes = try Self.read(memory, [0x101, 0x102, 1, 2, 0x100])
            let marks = stride(from: 0, to: bytes.count, by: FrameNumber.size).map { bytes[$0] }
            #expect(marks == [0x101, 0x102, 1, 2, 0x100].map { Self.mark(FrameNumber($0)) })
        }
    }

    /// As many that one thread would not do.
    @Test func manyScatteredFramesComeInTheirOrder() throws {
        try Self.open(Self.core([(0x1000, 1000)])) { memory throws in
            let frames = (0..<UInt64(1000)).map { $0 * 377 % 1000 + 1 }
            let bytes = try Self.read(memory, frames)
            let marks = stride(from: 0, to: bytes.count, by: FrameNumber.size).map { bytes[$0] }
            #expect(marks == frames.map { Self.mark(FrameNumber($0)) })
            #expect(bytes.suffix(4096).allSatisfy { $0 == marks.last })
            var missing = frames
            missing[900] = 5000
            #expect(throws: MemoryFault(.notInDump, at: FrameNumber(5000).address)) { try Self.read(memory, missing) }
        }
    }

    @Test func saysWhatIsNotThere() throws {
        try Self.open(Self.core([(0x1000, 2)])) { memory throws in
            for address in [0, 0xfff, 0x3000, UInt64.max - 7] {
                #expect(throws: MemoryFault.self) { try Self.read(memory, UInt64(address), 1) }
            }
            #expect(throws: MemoryFault.self) { try Self.read(memory, [1, 2, 3]) }
            #expect(throws: MemoryFault.self) { try Self.read(memory, [1 << 52 - 1]) }
        }
    }

    @Test func aFileThatWasCutShortLacksItsEndOnly() throws {
        try Self.open(Self.core([(0x1000, 2)]).dropLast(100)) { memory throws in
            #expect(try Self.read(memory, 0x1000, 4096).count == 4096)
            #expect(try Self.read(memory, 0x2000, 8) == Array(repeating: Self.mark(FrameNumber(2)), count: 8))
            #expect(throws: MemoryFault.self) { try Self.read(memory, 0x2ff8, 8) }
        }
    }

    @Test(arguments: [
        Array(core([(0x1000, 1)]).prefix(63)), Array(core([(0x1000, 1)]).prefix(100)), core([(0x1000, 1)], machine: 183),
        core([(0x1000, 2), (0x2000, 1)]), core([(UInt64.max - 4095, 2)]), core([(0x1000, 1)], count: 0xffff),
        core([(0x1000, 1)], offsets: [1 << 62]), [],
    ])
    func leavesOtherFilesToLibkdumpfile(file: [UInt8]) throws {
        try Self.open(file) { memory in #expect(memory == nil) }
    }
}
