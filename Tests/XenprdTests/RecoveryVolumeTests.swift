import Foundation
import Glibc
import Recovery
import Testing

@testable import xenprd

/// The volume after main had it: what is in a directory here is on the mounted volume there.
@Suite final class RecoveryVolumeTests {
    let root: URL
    let volume: RecoveryVolume

    init() throws {
        root = FileManager.default.temporaryDirectory.appending(path: "xenpr-volume-\(UInt32.random(in: 0..<UInt32.max))")
        try FileManager.default.createDirectory(at: root, withIntermediateDirectories: true)
        volume = RecoveryVolume(device: "/dev/null", mountpoint: root.path, freeShare: 0)
    }

    deinit { try? FileManager.default.removeItem(at: root) }

    private func write(_ path: String, _ text: String) throws {
        let file = root.appending(path: path)
        try FileManager.default.createDirectory(at: file.deletingLastPathComponent(), withIntermediateDirectories: true)
        try Data(text.utf8).write(to: file)
    }

    private func names(_ path: String = "") throws -> [String] {
        try FileManager.default.contentsOfDirectory(atPath: root.appending(path: path).path).sorted()
    }

    private static let manifest = """
        {"schema": "xenpr.recovery/1", "id": "main-60", "kernel": "6.1.0", "cause": "sysrq", "largest_pid": 3000,
         "timeline": [{"phase": "walk", "start": 60.5, "seconds": 0.5, "bytes": 4096, "pages": 1}],
         "groups": [{"name": "redis", "verdict": "degraded", "reasons": ["1 socket"], "bytes": 7, "pages": 1,
                     "processes": [{"pid": 812, "command": "redis", "verdict": "degraded", "memory_bytes": 9}]}]}
        """

    @Test func wholeRecoveryIsCleared() throws {
        try write("recovery.done.json", Self.manifest)
        try write("groups/redis/images/pages-1.img", "x")
        let findings = try volume.clear(keep: nil)
        #expect(findings.id == "main-60")
        #expect(findings.cause == "sysrq")
        #expect(findings.timeline.first?.bytes == 4096)
        #expect(findings.groups.first?.verdict == "degraded")
        #expect(findings.groups.first?.processes.first?.memoryBytes == 9)
        #expect(try names().isEmpty)
    }

    @Test func failedCheckpointIsKeptAndReplacesTheOlderOne() throws {
        try write("kept/main-1/recovery.json", "{}")
        try write("recovery.json", Self.manifest)
        try write("groups/redis/images/pages-1.img", "x")
        let findings = try volume.clear(keep: KeptCheckpoint(recovery: "main-60", restored: []))
        #expect(findings.kept == "kept/main-60")
        #expect(try names() == ["kept"])
        #expect(try names("kept") == ["main-60"])
        #expect(try names("kept/main-60") == ["groups", "recovery.json"])
    }

    @Test func wordsOfTheGuestAreNoCommandsToATerminal() throws {
        try write("recovery.json", Self.manifest.replacingOccurrences(of: "sysrq", with: "a\\u001b[2Jb"))
        #expect(try volume.clear(keep: nil).cause == "a?[2Jb")
    }

    @Test func ofGroupsThatRunAgainNothingIsKept() throws {
        try write("recovery.done.json", Self.manifest)
        for group in ["redis", "web"] { try write("groups/\(group)/images/pages-1.img", "x") }
        _ = try volume.clear(keep: KeptCheckpoint(recovery: "main-60", restored: ["web", "..", "../kept"]))
        #expect(try names("kept/main-60/groups") == ["redis"])
    }

    @Test func whatIsKeptLeavesRoomForTheNextRecovery() throws {
        try write("kept/main-1/recovery.json", "{}")
        try write("recovery.json", Self.manifest)
        let full = RecoveryVolume(device: "/dev/null", mountpoint: root.path, freeShare: 2)
        #expect(try full.clear(keep: KeptCheckpoint(recovery: "main-60", restored: [])).kept == nil)
        #expect(try names().isEmpty)
    }

    @Test func halfWrittenCheckpointIsNotKept() throws {
        try write("groups/redis/images/pages-1.img", "x")
        let findings = try volume.clear(keep: KeptCheckpoint(recovery: "main-60", restored: []))
        #expect(findings.kept == nil)
        #expect(try names().isEmpty)
    }

    @Test func linksLeadNowhere() throws {
        let outside = root.appendingPathExtension("outside")
        try FileManager.default.createDirectory(at: outside, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(at: outside) }
        try Data("secret".utf8).write(to: outside.appending(path: "file"))
        let files = FileManager.default
        for name in ["kept", "groups", "recovery.json"] {
            try files.createSymbolicLink(atPath: root.appending(path: name).path, withDestinationPath: outside.path)
        }
        _ = try volume.clear(keep: KeptCheckpoint(recovery: "main-60", restored: []))
        #expect(try String(contentsOf: outside.appending(path: "file"), encoding: .utf8) == "secret")
        #expect(try files.contentsOfDirectory(atPath: outside.path) == ["file"])
    }

    @Test func manifestThatIsNoFileHoldsNobodyUp() throws {
        // The path is a string of ours that lives for the call.
        #expect(unsafe mkfifo(root.appending(path: "recovery.json").path, 0o600) == 0)
        #expect(try volume.clear(keep: nil).id == nil)
    }

    @Test func everyTruncationOfTheManifestIsHarmless() throws {
        for length in 0..<Self.manifest.utf8.count {
            try write("recovery.json", String(decoding: Self.manifest.utf8.prefix(length), as: UTF8.self))
            #expect(Manifest.read(in: root.path).id == nil)
        }
    }
}
