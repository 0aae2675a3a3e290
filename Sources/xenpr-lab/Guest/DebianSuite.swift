import Foundation

/// Package lists of a Debian suite that the host's own apt need not know, kept beside those of the host.
struct DebianSuite: Sendable {
    /// The suite that the lab's host has; its packages come from the host's own sources.
    static let host = "bookworm"

    let name: String
    /// Options that have apt-get and apt-cache use these lists.
    let aptOptions: [String]

    /// Gets the lists, once a day.
    static func make(_ name: String, in cache: Cache, progress: Progress) async throws -> DebianSuite {
        guard name != host else { return DebianSuite(name: name, aptOptions: []) }
        let format = DateFormatter()
        format.locale = Locale(identifier: "en_US_POSIX")
        format.dateFormat = "yyyyMMdd"
        let directory = try await cache.entry("apt-\(name)-\(format.string(from: Date()))") { temporary in
            progress("getting the package lists of \(name)")
            for part in ["state/lists/partial", "cache/archives/partial"] {
                try FileManager.default.createDirectory(atPath: "\(temporary)/\(part)", withIntermediateDirectories: true)
            }
            try (source(name) + "\n").write(toFile: "\(temporary)/sources.list", atomically: false, encoding: .utf8)
            try await Tool.require("apt-get", options(temporary) + ["-q", "update"], timeout: .seconds(300))
        }
        return DebianSuite(name: name, aptOptions: options(directory))
    }

    /// A line of sources.list(5) for a suite, with the mirror of the host; a mirror that is a copy of some day serves lists that have expired.
    static func source(_ suite: String) -> String {
        "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg check-valid-until=no] \(mirror) \(suite) main"
    }

    private static let mirror: String = {
        let text = (try? String(contentsOfFile: "/etc/apt/sources.list.d/debian.sources", encoding: .utf8)) ?? ""
        let line = text.split(whereSeparator: \.isNewline).first { $0.hasPrefix("URIs:") }
        return line?.split(separator: " ").dropFirst().first.map(String.init) ?? "http://deb.debian.org/debian"
    }()

    private static func options(_ directory: String) -> [String] {
        [
            "Dir::Etc::SourceList=\(directory)/sources.list", "Dir::Etc::SourceParts=-", "Dir::State=\(directory)/state",
            "Dir::Cache=\(directory)/cache", "APT::Sandbox::User=root",
        ].flatMap { ["-o", $0] }
    }
}
