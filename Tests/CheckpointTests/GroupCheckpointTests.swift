import Glibc
import GuestMemory
import ProcessModel
import Testing

@testable import Checkpoint

/// A directory that is gone when the test is over.
final class ScratchDirectory {
    let path: String

    init() {
        var template = Array("/tmp/xenpr-checkpoint-XXXXXX".utf8CString)
        // mkdtemp writes into the template, which is NUL-terminated and ours.
        path = unsafe template.withUnsafeMutableBufferPointer { buffer in
            guard let base = buffer.baseAddress, let made = unsafe mkdtemp(base) else { return "/tmp/xenpr-checkpoint" }
            return unsafe String(cString: made)
        }
    }

    deinit { run("/bin/rm", "-rf", path) }

    @discardableResult func run(_ arguments: String...) -> Int32 {
        // The paths of these tests hold nothing that a shell would take apart.
        unsafe system(arguments.joined(separator: " "))
    }
}

func contents(of path: String) throws -> [UInt8] {
    let descriptor = unsafe open(path, O_RDONLY)
    try #require(descriptor >= 0, "\(path) exists")
    defer { close(descriptor) }
    var result: [UInt8] = []
    var buffer: [UInt8] = Array(repeating: 0, count: 65536)
    while true {
        // read fills at most the buffer.
        let count = unsafe buffer.withUnsafeMutableBytes { unsafe read(descriptor, $0.baseAddress, $0.count) }
        guard count > 0 else { return result }
        result += buffer[..<count]
    }
}

func names(in path: String) -> [String] {
    guard let directory = unsafe opendir(path) else { return [] }
    defer { unsafe closedir(directory) }
    var result: [String] = []
    while let entry = unsafe readdir(directory) {
        // d_name is NUL-terminated inside the entry.
        let name = unsafe withUnsafePointer(to: &entry.pointee.d_name) {
            unsafe $0.withMemoryRebound(to: CChar.self, capacity: 256) { unsafe String(cString: $0) }
        }
        if !name.hasPrefix(".") { result.append(name) }
    }
    return result.sorted()
}

@Suite struct GroupCheckpointTests {
    @Test func savesEveryImage() throws {
        let scratch = ScratchDirectory()
        var sample = SyntheticGroup()
        let record = GroupCheckpoint.save(sample.group, pages: &sample.supply, toVolume: scratch.path)
        #expect(record.verdict == .full, "\(record)")
        #expect(record.images == "groups/sample/images")
        #expect(record.rootPID == SyntheticGroup.keeper)
        #expect(record.processes.map(\.pid) == [2000, 2001, 2003])
        #expect(
            record.processes[1].threads
                == [2001, 2002].map { tid in
                    var attributes = RecoveryManifest.ThreadAttributes(tid: Int32(tid))
                    attributes.cpus = [0]
                    return attributes
                })
        #expect(record.processes[1].sockets == 3)
        let images = "\(scratch.path)/groups/sample/images"
        let expected = [
            "cgroup", "core-2000", "core-2001", "core-2002", "core-2003", "fdinfo-1", "fdinfo-2", "files", "fs-2000", "fs-2001",
            "ghost-file-9",
            "ids-2000", "ids-2001", "inventory", "memfd", "mm-2000", "mm-2001", "pagemap-2000", "pagemap-2001",
            "pagemap-shmem-2147483649",
            "pagemap-shmem-2147483650", "pages-1", "pages-2", "pages-3", "pages-4", "pipes-data", "pstree", "remap-fpath",
            "sk-queues",
            "timens-0",
        ]
        #expect(names(in: images) == expected.map { $0 + ".img" })
        for name in expected where !name.hasPrefix("pages-") {
            let bytes = try contents(of: "\(images)/\(name).img")
            let image = try ImageContents(parsing: bytes)
            #expect(!image.entries.isEmpty, "\(name)")
        }
        let tree = try ImageContents(parsing: contents(of: "\(images)/pstree.img"))
        #expect(tree.entries.map { $0.message.number(1) } == [2000, 2001, 2003])
        #expect(tree.entries.map { $0.message.number(2) } == [0, 2000, 2001])
        #expect(tree.entries[1].message.numbers(5) == [2001, 2002])
        let pages = try contents(of: "\(images)/pages-2.img")
        #expect(pages.count == 4 * 4096)
        #expect(pages[4096] == 2 && pages[4097] == 3)
        let pipe = try ImageContents(parsing: contents(of: "\(images)/pipes-data.img"))
        #expect(pipe.entries[0].payload == Array("queued".utf8))
        let ghost = try ImageContents(parsing: contents(of: "\(images)/ghost-file-9.img"))
        #expect(ghost.entries[0].message.number(10) == 5000)
    }

    /// A file cut anywhere is an error of the reader, or ends between two entries; never a trap.
    @Test func everyTruncationOfEveryImageIsNoticed() throws {
        let scratch = ScratchDirectory()
        var sample = SyntheticGroup()
        _ = GroupCheckpoint.save(sample.group, pages: &sample.supply, toVolume: scratch.path)
        let images = "\(scratch.path)/groups/sample/images"
        for name in names(in: images) where !name.hasPrefix("pages-") && !name.hasPrefix("ghost") {
            let bytes = try contents(of: "\(images)/\(name)")
            let whole = try ImageContents(parsing: bytes)
            for length in 0..<bytes.count {
                guard let cut = try? ImageContents(parsing: Array(bytes[..<length])) else { continue }
                #expect(cut.entries.count < whole.entries.count)
            }
        }
    }

    @Test func unreadablePageLeavesNothingBehind() {
        let scratch = ScratchDirectory()
        var sample = SyntheticGroup()
        sample.supply.badFrame = 103
        let record = GroupCheckpoint.save(sample.group, pages: &sample.supply, toVolume: scratch.path)
        #expect(record.images == nil)
        #expect(record.verdict == .refused)
        #expect(record.reasons == ["frame 0x67 is not in the dump"])
        #expect(names(in: "\(scratch.path)/groups/sample").isEmpty)
    }

    @Test func fullVolumeIsSaidAndTheOtherGroupStays() throws {
        let scratch = ScratchDirectory()
        guard scratch.run("mount -t tmpfs -o size=64k tmpfs", scratch.path, "2>/dev/null") == 0 else { return }
        defer { scratch.run("umount", scratch.path) }
        var small = SyntheticGroup()
        small.group.name = "large"
        for index in 0..<40 {
            small.supply.add(.addressSpace(AddressSpaceID(rawValue: 1)), 0x7fff_7ff0_5000 + UInt64(index) * 4096, 9)
        }
        small.group.addressSpaces[AddressSpaceID(rawValue: 1)]?.mappings.append(
            Mapping(
                start: VirtualAddress(0x7fff_7ff0_5000), end: VirtualAddress(0x7fff_7ff4_5000), offsetBytes: 0, protection: 3,
                kind: .anonymous))
        let record = GroupCheckpoint.save(small.group, pages: &small.supply, toVolume: scratch.path)
        #expect(record.images == nil)
        #expect(record.reasons.last?.contains("the recovery volume is full") == true, "\(record.reasons)")
        #expect(names(in: "\(scratch.path)/groups/large").isEmpty)
    }

    @Test func refusedGroupIsNotWritten() {
        let scratch = ScratchDirectory()
        var sample = SyntheticGroup()
        sample.group.openFiles[FileID(rawValue: 11)]?.kind = .unsupported("an inotify instance")
        let record = GroupCheckpoint.save(sample.group, pages: &sample.supply, toVolume: scratch.path)
        #expect(record.verdict == .refused && record.images == nil)
        #expect(record.processes[1].reasons == ["descriptor 11: an inotify instance"])
        #expect(record.processes[0].verdict == .full)
        #expect(names(in: scratch.path).isEmpty)
    }

    @Test func terminalsAndOutsidePipesLeadToNull() throws {
        let scratch = ScratchDirectory()
        var sample = SyntheticGroup()
        let slave = sample.addTerminal(Terminal(device: .pseudo(index: 0), name: "pts0"))
        sample.group.openFiles[FileID(rawValue: 2)]?.kind = .terminal(slave)
        sample.group.openFiles[FileID(rawValue: 5)]?.kind = .pipe(PipeID(rawValue: 2))
        sample.group.pipes[PipeID(rawValue: 2)] = Pipe(inode: 7, queuedBytes: [], capacityBytes: 65536, readers: 1, writers: 1)
        sample.group.pipes[PipeID(rawValue: 1)]?.writers = 0
        let record = GroupCheckpoint.save(sample.group, pages: &sample.supply, toVolume: scratch.path)
        #expect(record.verdict == .degraded && record.images != nil)
        #expect(
            record.processes[0].reasons == [
                "descriptor 0, 1, 2: terminal /dev/pts/0 is gone; its descriptors lead to /dev/null"
            ])
        let descriptors = try ImageContents(parsing: contents(of: "\(scratch.path)/groups/sample/images/fdinfo-1.img"))
        // All three lead to one new entry, which is a regular file entry.
        #expect(Set(descriptors.entries.map { $0.message.number(1) }).count == 1)
        #expect(descriptors.entries[0].message.number(3) == 1)
    }

    /// What the Debian package criu itself reads of our images.
    @Test func critDecodesEveryImage() throws {
        let scratch = ScratchDirectory()
        guard scratch.run("command -v crit >/dev/null") == 0 else {
            if unsafe getenv("XENPR_NO_SKIP") != nil { Issue.record("crit (Debian package criu) is not installed") }
            print("skipped: crit (Debian package criu) is not installed")
            return
        }
        var sample = SyntheticGroup()
        _ = GroupCheckpoint.save(sample.group, pages: &sample.supply, toVolume: scratch.path)
        let images = "\(scratch.path)/groups/sample/images"
        for name in names(in: images) where !name.hasPrefix("pages-") {
            #expect(scratch.run("crit decode -i \(images)/\(name) -o /dev/null") == 0, "\(name)")
        }
    }
}
