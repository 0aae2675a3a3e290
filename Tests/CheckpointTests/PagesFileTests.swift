import Foundation
import GuestMemory
import ProcessModel
import Testing

@testable import Checkpoint

@Suite struct PagesFileTests {
    /// Pages whose bytes tell which they are.
    struct NumberedSupply: PageSupply {
        /// A frame that cannot be read.
        var badFrame: UInt64?

        static func bytes(_ frame: UInt64) -> [UInt8] { (0..<4096).map { UInt8(truncatingIfNeeded: frame >> ($0 % 3 * 8)) } }

        mutating func forEachBatch(of object: MemoryObject, _ body: ([PageRun]) -> Bool) throws(PageSupplyError) {}

        mutating func lend(_ frames: [FrameNumber], _ body: ([UnsafeRawBufferPointer]) -> Void) throws(PageSupplyError) {
            if frames.contains(where: { $0.rawValue == badFrame }) { throw PageSupplyError("it is gone") }
            // The bytes live as long as the closure.
            unsafe frames.flatMap { Self.bytes($0.rawValue) }.withUnsafeBytes { unsafe body([$0]) }
        }
    }

    /// Writes into a file of a new directory, and returns what is in it.
    private func write(_ body: (inout PagesFile) throws -> Void) throws -> [UInt8] {
        let path = FileManager.default.temporaryDirectory.appendingPathComponent("xenpr-\(UUID().uuidString)").path
        defer { try? FileManager.default.removeItem(atPath: path) }
        let directory = try OutputDirectory(creating: path)
        var file = try PagesFile(creating: "pages-1.img", in: directory)
        try body(&file)
        return [UInt8](try Data(contentsOf: URL(fileURLWithPath: path + "/pages-1.img")))
    }

    private func run(_ frame: UInt64, _ count: UInt32) -> PageRun {
        PageRun(address: VirtualAddress(0), frame: FrameNumber(frame), count: count)
    }

    /// More than all buffers hold, so that each is used again, and a last part that fills none.
    @Test func pagesArriveInTheirOrder() throws {
        var supply = NumberedSupply()
        var expected: [UInt8] = []
        let own = Array(repeating: UInt8(0xee), count: 8192)
        let written = try write { file in
            for index in 0..<UInt64(900) {
                // In turns one page and some that lie together.
                let part = run(index * 977 % 4093, UInt32(index % 2 * 7 + 1))
                try file.append(part, from: &supply)
                for page in 0..<UInt64(part.count) { expected += NumberedSupply.bytes(part.frame.rawValue + page) }
                if index % 100 == 50 {
                    try file.append(own, from: &supply)
                    expected += own
                }
            }
            #expect(file.byteCount == UInt64(expected.count))
            try file.finish(from: &supply)
            #expect(file.byteCount == UInt64(expected.count))
            #expect(file.bytesWritten == UInt64(expected.count))
        }
        #expect(expected.count > 4 * DirectWriter.bufferSize)
        #expect(written == expected)
    }

    @Test(arguments: [0, 1, DirectWriter.bufferSize / 4096, DirectWriter.bufferSize / 4096 * 9])
    func aFileIsAsLongAsItsPages(count: Int) throws {
        var supply = NumberedSupply()
        let written = try write { file in
            if count > 0 { try file.append(run(1, UInt32(count)), from: &supply) }
            try file.finish(from: &supply)
        }
        #expect(written.count == count * 4096)
    }

    /// The file catch-up goes on with the next file.
    @Test func aPageThatCannotBeReadIsLeftOut() throws {
        var supply = NumberedSupply(badFrame: 7)
        let written = try write { file in
            try file.append(run(1, 2), from: &supply)
            try file.read(from: &supply)
            try file.append(run(6, 3), from: &supply)
            #expect(throws: CheckpointError.self) { try file.read(from: &supply) }
            #expect(file.byteCount == 2 * 4096)
            try file.append(run(20, 1), from: &supply)
            try file.finish(from: &supply)
        }
        #expect(written == [1, 2, 20].flatMap { NumberedSupply.bytes($0) })
    }
}
