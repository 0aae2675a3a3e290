import Foundation

/// The ssh key pair of this cache: guests let it in as root, and only the lab's own network reaches them.
struct LabKey: Sendable {
    let privateFile: String
    let publicText: String

    static func make(in cache: Cache) async throws -> LabKey {
        let directory = try await cache.entry("ssh") { temporary in
            try FileManager.default.createDirectory(atPath: temporary, withIntermediateDirectories: true)
            try await Tool.require(
                "ssh-keygen", ["-q", "-t", "ed25519", "-N", "", "-C", "xenpr-lab", "-f", "\(temporary)/key"])
        }
        return LabKey(
            privateFile: "\(directory)/key", publicText: try String(contentsOfFile: "\(directory)/key.pub", encoding: .utf8))
    }
}
