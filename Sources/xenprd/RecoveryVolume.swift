import DaemonAPI
import Daemon
import Foundation
import Glibc
import Recovery

/// The recovery volume as the control domain handles it.
///
/// Main has written to this file system, so it is mounted only while nothing else has it, without devices, set-uid bits,
/// executables and symbolic links, and every name in it is taken for hostile.
struct RecoveryVolume: Sendable {
    static let label = "xenpr-recovery"
    let device: String
    let mountpoint: String
    /// What share of the volume has to be free when something of an earlier recovery is kept there.
    var freeShare = 0.5

    // MARK: What it is

    static func state(of path: String) async -> VolumeState {
        var status = stat()
        // Both are ours; the call keeps no pointer.
        guard unsafe stat(path, &status) == 0 else { return .unusable(errorText(errno)) }
        guard status.st_mode & S_IFMT == S_IFBLK else { return .unusable("it is not a block device") }
        do {
            // blkid(8): -p looks at the device itself; exit code 2 means that it knows nothing of what is there.
            guard let result = try await Tool.run("blkid", ["-p", "-o", "export", path], seconds: 30) else {
                return .unusable("blkid did not end within 30 s")
            }
            if result.code == 2 { return .blank }
            guard result.code == 0 else { return .unusable("blkid failed: \(result.reason)") }
            let fields = Self.fields(result.output)
            if fields["TYPE"] == "ext4", fields["LABEL"] == label { return .ready }
            if let type = fields["TYPE"] { return .foreign(fields["LABEL"].map { "\(type) labelled \($0)" } ?? type) }
            return .foreign(fields["PTTYPE"].map { "a partition table (\($0))" } ?? "something that blkid does not name")
        } catch {
            return .unusable("\(error)")
        }
    }

    private static func fields(_ text: String) -> [String: String] {
        var fields: [String: String] = [:]
        for line in text.split(separator: "\n") {
            let parts = line.split(separator: "=", maxSplits: 1).map(String.init)
            if parts.count == 2 { fields[parts[0]] = parts[1].replacingOccurrences(of: "\\", with: "") }
        }
        return fields
    }

    static func format(_ path: String) async throws {
        try await Tool.need("mke2fs", ["-q", "-t", "ext4", "-L", label, path], seconds: 300)
    }

    // MARK: Mounting

    func mount() async throws {
        try makeDirectory(mountpoint)
        // A killed xenprd may have left it mounted.
        try await unmount()
        do {
            try await Tool.need("mount", ["-t", "ext4", "-o", "nosuid,nodev,noexec,nosymfollow", device, mountpoint])
        } catch {
            throw ToolFailure("cannot mount the recovery volume \(device): \(error)")
        }
    }

    func unmount() async throws {
        guard Self.isMounted(mountpoint) else { return }
        try await Tool.need("umount", [mountpoint], seconds: 300)
    }

    static func isMounted(_ mountpoint: String) -> Bool {
        guard let mounts = try? String(contentsOfFile: "/proc/self/mounts", encoding: .utf8) else { return false }
        return mounts.split(separator: "\n").contains { line in
            let fields = line.split(separator: " ")
            return fields.count > 1 && fields[1] == mountpoint
        }
    }

    /// Whether the manifest, which is written last of all, is there. The volume is mounted meanwhile.
    func holdsRecovery(_ id: String) -> Bool {
        Manifest.read(in: mountpoint, names: ["recovery.json"]).id == id
    }

    // MARK: After a recovery

    /// Reads what a recovery has left, then keeps what did not come back under `kept/RECOVERY`, or removes all of it. The volume is mounted meanwhile.
    func clear(keep: KeptCheckpoint?) throws -> VolumeFindings {
        var findings = Manifest.read(in: mountpoint)
        let files = FileManager.default
        let kept = mountpoint + "/kept"
        if !Self.isRealDirectory(kept), Self.exists(kept) { try files.removeItem(atPath: kept) }
        let leftovers = try files.contentsOfDirectory(atPath: mountpoint).filter { $0 != "lost+found" && $0 != "kept" }
        // An empty directory is no checkpoint worth keeping.
        let hasCheckpoint = leftovers.contains { $0.hasPrefix("recovery") }
        if let keep, hasCheckpoint {
            // The newest only: an older one would take the space of the next.
            if Self.exists(kept) { try files.removeItem(atPath: kept) }
            let groups = "\(mountpoint)/groups"
            if Self.isRealDirectory(groups) {
                for name in try files.contentsOfDirectory(atPath: groups) where keep.restored.contains(name) {
                    try files.removeItem(atPath: "\(groups)/\(name)")
                }
            }
            try files.createDirectory(atPath: "\(kept)/\(keep.recovery)", withIntermediateDirectories: true)
            for name in leftovers {
                try files.moveItem(atPath: "\(mountpoint)/\(name)", toPath: "\(kept)/\(keep.recovery)/\(name)")
            }
            findings.kept = "kept/\(keep.recovery)"
        } else {
            for name in leftovers { try files.removeItem(atPath: "\(mountpoint)/\(name)") }
        }
        // What is kept must not take the room of the next recovery.
        if Self.exists(kept), !hasRoom {
            try files.removeItem(atPath: kept)
            findings.kept = nil
        }
        return findings
    }

    private var hasRoom: Bool {
        var space = statvfs()
        return unsafe statvfs(mountpoint, &space) == 0 && Double(space.f_bavail) >= Double(space.f_blocks) * freeShare
    }

    static func isDiskOrFile(_ path: String) -> Bool {
        var status = stat()
        return unsafe stat(path, &status) == 0 && [S_IFBLK, S_IFREG].contains(status.st_mode & S_IFMT)
    }

    private static func exists(_ path: String) -> Bool {
        var status = stat()
        return unsafe lstat(path, &status) == 0
    }

    private static func isRealDirectory(_ path: String) -> Bool {
        var status = stat()
        return unsafe lstat(path, &status) == 0 && status.st_mode & S_IFMT == S_IFDIR
    }
}
