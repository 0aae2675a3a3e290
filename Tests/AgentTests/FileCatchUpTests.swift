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

    private func applied(
        _ files: [RecoveryManifest.File], removed: [RecoveryManifest.Removed] = [], in place: Place, at: Int64?
    )
        -> [String]
    {
        var catchUp = FileCatchUp(volume: place.volume, recovery: "test", crashedAt: at)
        catchUp.apply(files: files, removed: removed)
        return catchUp.problems.map(\.reason)
    }

    @Test func givesAFileItsOtherNames() throws {
        let place = try Place()
        try place.write("abcdef", to: "volume/files/1")
        try place.write("old", to: "second")
        let first = place.file("new/first", size: 6, extents: [extent(0, 6, 0)])
        let others = ["another", "second", "third"].map { name in
            var other = place.file(name, size: 6, extents: [], content: nil)
            other.otherName = first.path
            return other
        }
        #expect(applied([others[0], first, others[1], others[2]], in: place, at: nil) == [])
        let inode = try place.inode(of: "new/first")
        for name in ["another", "second", "third"] { #expect(try place.inode(of: name) == inode) }
        #expect(place.read("third") == "abcdef")
        #expect(applied([others[0], first, others[1]], in: place, at: nil) == [], "a second time nothing is to be done")
        var lost = others[0]
        lost.otherName = place.path + "/nothing"
        #expect(applied([lost], in: place, at: nil).count == 1)
    }

    /// A log that was turned over: what has its name on the disk is the older one, which has another name by now.
    @Test func findsAFileThatAnotherPushedAside() throws {
        let place = try Place()
        try place.write("old log", to: "log")
        try place.write("abcdef", to: "volume/files/1")
        let inode = try place.inode(of: "log")
        var new = place.file("log", inode: 1, size: 6, extents: [extent(0, 6, 0)])
        new.modified = nil
        let old = place.file("log.1", inode: inode, size: 7, extents: [], content: nil)
        let directory = RecoveryManifest.File(
            path: place.path, inode: 1, size: 0, mode: 0o040755, uid: getuid(), gid: getgid(), content: nil, extents: [],
            isHeld: false, links: 2, isWhole: false)
        #expect(applied([directory, new, old], in: place, at: nil) == [])
        #expect(place.read("log") == "abcdef" && place.read("log.1") == "old log")
        #expect(try place.inode(of: "log.1") == inode)
    }

    @Test func makesSymbolicLinks() throws {
        let place = try Place()
        func link(_ name: String, to target: String?) -> RecoveryManifest.File {
            RecoveryManifest.File(
                path: "\(place.path)/\(name)", inode: 1, size: 1, mode: 0o120777, uid: getuid(), gid: getgid(), content: nil,
                extents: [], isHeld: false, links: 1, isWhole: false, target: target)
        }
        try FileManager.default.createSymbolicLink(atPath: place.path + "/turned", withDestinationPath: "elsewhere")
        #expect(applied([link("deep/made", to: "../x y"), link("turned", to: "/a/b")], in: place, at: nil) == [])
        #expect(try FileManager.default.destinationOfSymbolicLink(atPath: place.path + "/deep/made") == "../x y")
        #expect(try FileManager.default.destinationOfSymbolicLink(atPath: place.path + "/turned") == "/a/b")
        #expect(applied([link("nowhere", to: nil), link("empty", to: "")], in: place, at: nil).count == 2)
        // What the new system has made stays.
        #expect(applied([link("turned", to: "c")], in: place, at: 1000).count == 1)
        #expect(try FileManager.default.destinationOfSymbolicLink(atPath: place.path + "/turned") == "/a/b")
    }

    /// Of two names of one file one was removed: that the other was written to makes it no file of the new system.
    @Test func setsAsideAnotherNameOfAFileThatItHasWritten() throws {
        let place = try Place()
        try place.write("abc", to: "volume/files/1")
        try place.write("", to: "kept")
        try FileManager.default.linkItem(atPath: place.path + "/kept", toPath: place.path + "/removed")
        try FileManager.default.setAttributes(
            [.modificationDate: Date(timeIntervalSince1970: 500)], ofItemAtPath: place.path + "/kept")
        let file = place.file("kept", inode: try place.inode(of: "kept"), size: 3, extents: [extent(0, 3, 0)])
        let removed = RecoveryManifest.Removed(path: place.path + "/removed", inode: nil)
        #expect(applied([file], removed: [removed], in: place, at: 1000) == [])
        #expect(place.read("kept") == "abc" && !FileManager.default.fileExists(atPath: place.path + "/removed"))
    }

    @Test func setsAsideNamesThatADirectoryDidNotHave() throws {
        let place = try Place()
        let future = Int64(Date().timeIntervalSince1970) + 1000
        for name in ["kept", "stray", "wanted"] { try place.write(name, to: name) }
        try FileManager.default.createSymbolicLink(atPath: place.path + "/link", withDestinationPath: "kept")
        func strays(inode: UInt64, at crash: Int64?) -> Set<String> {
            let catchUp = FileCatchUp(volume: place.volume, recovery: "test", crashedAt: crash)
            let listing = RecoveryManifest.Listing(path: place.path, inode: inode, names: ["kept", "volume", "gone"])
            return Set(catchUp.strayNames(in: listing).map { String($0.path.dropFirst(place.path.utf8.count + 1)) })
        }
        let inode = try place.inode(of: ".")
        #expect(strays(inode: inode, at: future) == ["stray", "wanted", "link"])
        #expect(strays(inode: inode + 1, at: future) == [], "another directory")
        #expect(strays(inode: inode, at: nil) == [], "nobody knows what is new")
        let listing = RecoveryManifest.Listing(path: place.path, inode: inode, names: ["kept", "volume"])
        let file = place.file("wanted", inode: try place.inode(of: "wanted"), size: 6, extents: [], content: nil)
        var catchUp = FileCatchUp(volume: place.volume, recovery: "test", crashedAt: 1000)
        catchUp.apply(files: [file], removed: [], directories: [listing])
        #expect(place.read("stray") == "stray", "the new system has made it")
        catchUp = FileCatchUp(volume: place.volume, recovery: "test", crashedAt: future)
        catchUp.apply(files: [file], removed: [], directories: [listing])
        #expect(catchUp.problems.map(\.reason) == [])
        #expect(place.read("kept") == "kept" && place.read("wanted") == "wanted" && place.read("stray") == nil)
        #expect((try? FileManager.default.destinationOfSymbolicLink(atPath: place.path + "/link")) == nil)
    }

    /// Seconds and nanoseconds of the last write and the last read.
    private func times(_ path: String) throws -> [Int64] {
        guard let root = Descriptor(taking: System.open("/", O_RDONLY | O_DIRECTORY)),
            let status = System.status(root, String(path.dropFirst()))
        else { throw systemError("\(path) is not there") }
        return [status.st_mtim.tv_sec, status.st_mtim.tv_nsec, status.st_atim.tv_sec, status.st_atim.tv_nsec].map { Int64($0) }
    }

    @Test func givesFilesTheTimesThatTheyHad() throws {
        let place = try Place()
        try place.write("abcdef", to: "volume/files/1")
        try place.write("0123456789", to: "old")
        func timed(_ file: RecoveryManifest.File) -> RecoveryManifest.File {
            var file = file
            file.modified = .init(seconds: 900, nanoseconds: 123_456_789)
            file.accessed = .init(seconds: 800, nanoseconds: 1)
            return file
        }
        let old = place.file("old", inode: try place.inode(of: "old"), size: 10, extents: [extent(2, 3, 0)])
        var link = place.file("link", size: 1, extents: [], content: nil)
        link = RecoveryManifest.File(
            path: link.path, inode: 1, size: 1, mode: 0o120777, uid: getuid(), gid: getgid(), content: nil, extents: [],
            isHeld: false, links: 1, isWhole: false, target: "x")
        let files = [timed(old), timed(place.file("new", size: 6, extents: [extent(0, 6, 0)])), timed(link)]
        #expect(applied(files, in: place, at: nil) == [])
        for name in ["old", "new", "link"] {
            #expect(try times("\(place.path)/\(name)") == [900, 123_456_789, 800, 1], "\(name)")
        }
        var half = old
        half.accessed = .init(seconds: 700, nanoseconds: 0)
        #expect(applied([half], in: place, at: nil) == [])
        let now = try times(place.path + "/old")
        #expect(now[0] > 1000 && now[2] == 700, "what is not known stays as the restore has made it")
    }

    @Test func givesDirectoriesTheirTimesUnlessTheNewSystemHasChangedThem() throws {
        let place = try Place()
        try place.write("abcdef", to: "volume/files/1")
        for name in ["old", "new"] {
            try FileManager.default.createDirectory(atPath: "\(place.path)/\(name)", withIntermediateDirectories: false)
        }
        try FileManager.default.setAttributes(
            [.modificationDate: Date(timeIntervalSince1970: 500)], ofItemAtPath: place.path + "/old")
        func directory(_ name: String) -> RecoveryManifest.File {
            var file = RecoveryManifest.File(
                path: "\(place.path)/\(name)", inode: 1, size: 4096, mode: 0o040755, uid: getuid(), gid: getgid(),
                content: nil, extents: [], isHeld: false, links: 2, isWhole: false)
            file.modified = .init(seconds: 900, nanoseconds: 7)
            return file
        }
        let inside = ["made", "new", "old"].map { place.file("\($0)/data", size: 6, extents: [extent(0, 6, 0)]) }
        #expect(applied(["made", "new", "old"].map(directory) + inside, in: place, at: 1000) == [])
        #expect(try times(place.path + "/old")[0...1] == [900, 7] && place.read("old/data") == "abcdef")
        #expect(try times(place.path + "/made")[0...1] == [900, 7] && place.read("made/data") == "abcdef")
        #expect(try times(place.path + "/new")[0] > 1000)
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
