import Foundation
import Testing

@testable import xenpr_agent

/// The file catch-up in a directory of its own, with a volume beside it.
@Suite struct FileCatchUpTests {
    /// A directory that goes with the test.
    final class Place {
        let path: String
        var volume: String { path + "/volume" }

        init() throws {
            // The path that the kernel has, without links, as it comes from a dead kernel.
            path = FileManager.default.temporaryDirectory.resolvingSymlinksInPath().path + "/xenpr-\(UUID().uuidString)"
            try FileManager.default.createDirectory(atPath: volume + "/files", withIntermediateDirectories: true)
        }

        deinit { try? FileManager.default.removeItem(atPath: path) }

        func write(_ text: String, to name: String) throws {
            try Data(text.utf8).write(to: URL(fileURLWithPath: "\(path)/\(name)"))
        }

        func read(_ name: String) -> String? { try? String(contentsOfFile: "\(path)/\(name)", encoding: .utf8) }

        func inode(of name: String) throws -> UInt64 {
            let attributes = try FileManager.default.attributesOfItem(atPath: "\(path)/\(name)")
            return (attributes[.systemFileNumber] as? NSNumber)?.uint64Value ?? 0
        }

        func file(
            _ name: String, inode: UInt64 = 1, size: Int64, extents: [RecoveryManifest.Extent], content: String? = "files/1",
            isWhole: Bool = false
        ) -> RecoveryManifest.File {
            RecoveryManifest.File(
                path: "\(path)/\(name)", inode: inode, size: size, mode: 0o100640, uid: getuid(), gid: getgid(),
                content: content,
                extents: extents, isHeld: true, links: 1, isWhole: isWhole)
        }

        func apply(_ file: RecoveryManifest.File) -> [String] {
            var catchUp = FileCatchUp(volume: volume, recovery: "test")
            catchUp.apply(files: [file], removed: [])
            return catchUp.problems.map(\.reason)
        }
    }

    func extent(_ offset: Int64, _ length: Int64, _ content: Int64) -> RecoveryManifest.Extent {
        RecoveryManifest.Extent(fileOffset: offset, length: length, contentOffset: content)
    }

    @Test func writesExtentsAndSizeIntoTheSameFile() throws {
        let place = try Place()
        try place.write("0123456789", to: "data")
        try place.write("abcdef", to: "volume/files/1")
        let inode = try place.inode(of: "data")
        let problems = place.apply(place.file("data", inode: inode, size: 8, extents: [extent(2, 3, 0), extent(6, 4, 3)]))
        #expect(problems == [])
        // The second extent reaches beyond the end of the file, as the last page of a file does.
        #expect(place.read("data") == "01abc5de")
    }

    @Test func makesAFileThatIsMissing() throws {
        let place = try Place()
        try place.write("abcdef", to: "volume/files/1")
        #expect(place.apply(place.file("new/deep/data", size: 4, extents: [extent(0, 6, 0)])) == [])
        #expect(place.read("new/deep/data") == "abcd")
    }

    @Test func leavesAnotherFileAloneWhenItsContentIsNotWhole() throws {
        let place = try Place()
        try place.write("other", to: "data")
        try place.write("abcdef", to: "volume/files/1")
        #expect(place.apply(place.file("data", inode: 1, size: 6, extents: [extent(2, 2, 0)])).count == 1)
        #expect(place.read("data") == "other")
    }

    /// A file on tmpfs, of which only some pages were ever written.
    @Test func fillsWithZerosWhatAWholeFileNeverHad() throws {
        let place = try Place()
        try place.write("abcdef", to: "volume/files/1")
        #expect(place.apply(place.file("data", size: 6, extents: [extent(2, 2, 0)], isWhole: true)) == [])
        #expect(place.read("data") == "\0\0ab\0\0")
        try place.write("0123456789", to: "data")
        let file = place.file("data", inode: try place.inode(of: "data"), size: 5, extents: [extent(0, 1, 4)], isWhole: true)
        #expect(place.apply(file) == [])
        #expect(place.read("data") == "e\0\0\0\0", "nothing of what somebody has put there since")
    }

    @Test func doesNotFollowLinks() throws {
        let place = try Place()
        try place.write("abcdef", to: "volume/files/1")
        try FileManager.default.createSymbolicLink(atPath: place.path + "/link", withDestinationPath: place.path)
        #expect(place.apply(place.file("link/data", size: 6, extents: [extent(0, 6, 0)])).count == 1)
        #expect(place.read("data") == nil)
    }

    @Test(arguments: ["../recovery.json", "files/../../x", "/etc/passwd", "elsewhere/1"])
    func readsContentOnlyBelowFiles(_ content: String) throws {
        let place = try Place()
        try place.write("abcdef", to: "volume/recovery.json")
        #expect(place.apply(place.file("data", size: 6, extents: [extent(0, 6, 0)], content: content)).count == 1)
        #expect(place.read("data") == nil)
    }

    static let damaged: [[Int64]] = [
        [-1, 5, 0], [0, -5, 0], [0, 5, -1], [.max, 5, 0], [0, .max, .max], [0, 100, 0],
    ]

    @Test(arguments: damaged) func refusesDamagedExtents(_ numbers: [Int64]) throws {
        let place = try Place()
        try place.write("0123456789", to: "data")
        try place.write("abc", to: "volume/files/1")
        let file = place.file(
            "data", inode: try place.inode(of: "data"), size: Int64.max, extents: [extent(numbers[0], numbers[1], numbers[2])])
        #expect(place.apply(file).count == 1)
    }

    @Test(arguments: ["relative", "/a/../b", "/a//b", "/a/./b", "/", "/a\0b"])
    func refusesPathsThatAreNotPlain(_ path: String) throws {
        let place = try Place()
        let file = RecoveryManifest.File(
            path: path, inode: 1, size: 0, mode: 0o100640, uid: 0, gid: 0, content: nil, extents: [], isHeld: true, links: 1,
            isWhole: false)
        #expect(place.apply(file).count == 1)
    }
}
