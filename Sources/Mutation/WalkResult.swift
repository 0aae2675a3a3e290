import Checkpoint
import Foundation
import GuestMemory
import KernelProcesses
import ProcessModel

/// What a salvage made of one group, short enough to be compared thousands of times. Hashes are of one process's run only.
struct GroupResult: Equatable {
    var verdict: Verdict
    /// The reasons, in words.
    var reasons: [String]
    /// All images, and which frames hold the pages.
    var images: Int
}

/// What a walk over some groups gave.
struct WalkResult: Equatable {
    var groups: [String: GroupResult] = [:]
    /// The catch-up of files, when it was made.
    var files: Int?
    var gaps: [String] = []
}

/// Passes pages on and notes which frames they are; the contents are zeros, see ``OverlaidMemory``.
struct NotedPages: PageSupply {
    private var base: KernelPages
    private(set) var hasher = Hasher()

    init(_ base: KernelPages) { self.base = base }

    mutating func forEachBatch(of object: MemoryObject, _ body: ([PageRun]) -> Bool) throws(PageSupplyError) {
        var noted = hasher
        noted.combine(object)
        try base.forEachBatch(of: object) { runs in
            noted.combine(runs)
            return body(runs)
        }
        hasher = noted
    }

    mutating func lend(
        _ frames: [FrameNumber], _ body: ([UnsafeRawBufferPointer]) -> Void
    ) throws(PageSupplyError) {
        hasher.combine(frames)
        // What the base lends is passed on and not kept.
        unsafe try base.lend(frames) { unsafe body($0) }
    }
}

/// Makes salvages into a directory of its own, and remembers them as hashes.
final class SalvageSink {
    private let directory: String

    /// - Parameter directory: is made, used over and over, and removed in the end; best on a file system in memory.
    init(directory: String) throws {
        self.directory = directory
        try FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: true)
    }

    deinit { try? FileManager.default.removeItem(atPath: directory) }

    /// Saves a group as salvage does.
    func save(_ read: ReadGroup) -> GroupResult {
        var pages = NotedPages(read.pages)
        let record = GroupCheckpoint.save(read.group, pages: &pages, toVolume: directory)
        var hasher = pages.hasher
        hasher.combine(record.pseudoTerminals)
        hasher.combine(record.rootPID)
        for process in record.processes {
            hasher.combine(process.pid)
            hasher.combine(process.command)
        }
        if let images = record.images { combine(filesIn: "\(directory)/\(images)", into: &hasher) }
        try? FileManager.default.removeItem(atPath: "\(directory)/groups")
        return GroupResult(
            verdict: record.verdict,
            reasons: record.reasons + record.processes.flatMap { process in process.reasons.map { "\(process.pid): \($0)" } },
            images: hasher.finalize())
    }

    /// Saves what the files had beyond the disk.
    func saveFiles(of groups: [ReadGroup], in kernel: DeadKernel) -> Int {
        let catchUp = kernel.fileCatchUp(for: groups.map(\.group))
        var hasher = Hasher()
        for entry in catchUp.entries {
            hasher.combine(entry.path)
            hasher.combine(entry.inode)
            hasher.combine(entry.sizeBytes)
            hasher.combine(entry.mode)
            hasher.combine(entry.uid)
            hasher.combine(entry.gid)
            hasher.combine(entry.runs)
            hasher.combine(entry.isHeld)
        }
        for removal in catchUp.removals { hasher.combine(removal.path) }
        for omission in catchUp.omissions {
            hasher.combine(omission.path)
            hasher.combine(omission.reason)
        }
        return hasher.finalize()
    }

    private func combine(filesIn directory: String, into hasher: inout Hasher) {
        let names = (try? FileManager.default.contentsOfDirectory(atPath: directory)) ?? []
        for name in names.sorted() {
            hasher.combine(name)
            guard let data = FileManager.default.contents(atPath: "\(directory)/\(name)") else { continue }
            // Pages are zeros, apart from those that were patched or added, which are few.
            // The bytes are only read, and while they are lent.
            unsafe data.withUnsafeBytes { unsafe hasher.combine(bytes: $0) }
        }
    }
}
