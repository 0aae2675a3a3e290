import Foundation
import Testing

@testable import xenpr_lab

@Suite struct BenchTests {
    /// Images of a process with the contents' pages between others, damaged or not.
    private func images(_ contents: PageContents, pages: Int, damage: (inout [UInt8]) -> Void = { _ in }) throws -> String {
        let directory = FileManager.default.temporaryDirectory.appendingPathComponent("xenpr-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: directory, withIntermediateDirectories: true)
        func varint(_ value: UInt64) -> [UInt8] {
            var rest = value
            var bytes: [UInt8] = []
            repeat {
                bytes.append(UInt8(rest & 0x7f) | (rest > 0x7f ? 0x80 : 0))
                rest >>= 7
            } while rest > 0
            return bytes
        }
        func entry(_ fields: [(UInt8, UInt64)]) -> [UInt8] {
            let message = fields.flatMap { [$0.0 << 3] + varint($0.1) }
            return [UInt8(message.count), 0, 0, 0] + message
        }
        let map =
            Array(repeating: UInt8(1), count: 8) + entry([(1, 5)]) + entry([(1, 0x1000), (2, 1), (4, 4)])
            + entry([(1, contents.start), (2, 1), (4, 4)])
            + entry([(1, contents.start + 4096), (2, UInt64(pages - 1)), (4, 4)])
        var bytes = [UInt8](repeating: 7, count: 4096)
        for index in 0..<UInt64(pages * 512) {
            let word = contents.word(at: contents.start + index * 8)
            for shift in stride(from: UInt64(0), to: 64, by: 8) { bytes.append(UInt8(truncatingIfNeeded: word >> shift)) }
        }
        damage(&bytes)
        try Data(map).write(to: directory.appendingPathComponent("pagemap-42.img"))
        try Data(bytes).write(to: directory.appendingPathComponent("pages-5.img"))
        return directory.path
    }

    private let contents = PageContents(start: 0x2000_0000_0000, bytes: 4 * 4096, seed: 99)

    @Test func everyByteIsCompared() throws {
        let whole = try images(contents, pages: 4)
        defer { try? FileManager.default.removeItem(atPath: whole) }
        try contents.compare(withImagesIn: whole)
        for offset in [4096, 4096 * 3 + 5, 4096 * 5 - 1] {
            let damaged = try images(contents, pages: 4) { $0[offset] ^= 1 }
            defer { try? FileManager.default.removeItem(atPath: damaged) }
            #expect(throws: LabFailure.self) { try contents.compare(withImagesIn: damaged) }
        }
    }

    @Test func aPageThatIsMissingIsFound() throws {
        let short = try images(contents, pages: 3)
        defer { try? FileManager.default.removeItem(atPath: short) }
        #expect(throws: LabFailure.self) { try contents.compare(withImagesIn: short) }
        let cut = try images(contents, pages: 4) { $0.removeLast(4096) }
        defer { try? FileManager.default.removeItem(atPath: cut) }
        #expect(throws: LabFailure.self) { try contents.compare(withImagesIn: cut) }
    }

    @Test func aListingSaysWhatItCountedAndHowLongItTook() throws {
        let line = "listed 10932 areas and 2723 descriptors of 213 processes in 0.25 s"
        let time = try #require(ListingTime(line: line, wholeSeconds: 1))
        #expect(time.areas == 10_932 && time.descriptors == 2723 && time.processes == 213)
        #expect(time.seconds == 0.25 && time.startSeconds == 0.75)
        #expect(ListingTime(line: "listed 0 areas of 213 processes in 0.25 s", wholeSeconds: 1) == nil)
        #expect(ListingTime(line: "listed 5 areas of 3 processes", wholeSeconds: 1) == nil)
    }

    @Test func theReportSaysWhatWasNotCompared() {
        var report = BenchReport(offlineProcessBytes: 1, processBytes: 1)
        report.listing = .init(processes: 1, areas: 2, descriptors: 3, startSeconds: 0.1, seconds: 0.01)
        report.listing?.notCompared = "PyPI cannot be reached"
        #expect(report.text.contains("not compared: PyPI cannot be reached"))
    }
}
