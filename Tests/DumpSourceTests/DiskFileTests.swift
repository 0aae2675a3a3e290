import Foundation
import GuestDisks
import GuestMemory
import Testing

@Suite struct DiskFileTests {
    /// A file that goes when the test ends.
    private func withFile<Result>(_ contents: [UInt8], _ body: (String) throws -> Result) throws -> Result {
        let path = FileManager.default.temporaryDirectory.appendingPathComponent("disk-\(UUID().uuidString)").path
        try Data(contents).write(to: URL(fileURLWithPath: path))
        defer { try? FileManager.default.removeItem(atPath: path) }
        return try body(path)
    }

    private func page(_ number: UInt64, of disk: DiskFile) throws -> [UInt8] {
        var bytes = [UInt8](repeating: 0xff, count: FrameNumber.size)
        var failure: DiskFault?
        unsafe bytes.withUnsafeMutableBytes { buffer in
            // A page, as the disk promises to fill.
            do throws(DiskFault) { try unsafe disk.read(at: number << 12, into: buffer) } catch { failure = error }
        }
        if let failure { throw failure }
        return bytes
    }

    @Test func readsPages() throws {
        let contents = (0..<3).flatMap { Array(repeating: UInt8($0 + 1), count: FrameNumber.size) }
        try withFile(contents) { path in
            let disk = try DiskFile(path: path)
            for number in 0..<3 { #expect(try page(UInt64(number), of: disk).allSatisfy { $0 == UInt8(number + 1) }) }
            #expect(throws: DiskFault.self) { try page(3, of: disk) }
            #expect(throws: DiskFault.self) { try page(1 << 51, of: disk) }
        }
    }

    @Test func imagesInAFormatOfTheirOwnAreRefused() throws {
        let header: [UInt8] = [0x51, 0x46, 0x49, 0xfb] + Array(repeating: 0, count: 8188)
        let failure = try withFile(header) { path in #expect(throws: DiskFault.self) { try DiskFile(path: path) } }
        #expect(failure?.description.contains("qcow2") == true)
    }

    @Test func aFileThatIsNotThereIsNamed() {
        let failure = #expect(throws: DiskFault.self) { try DiskFile(path: "/nonexistent/disk") }
        #expect(failure?.description == "cannot open disk /nonexistent/disk: No such file or directory")
    }
}
