import Foundation

/// Where the lab keeps what is costly to make: `$XENPR_CACHE`, else `~/.cache/xenpr`. Everything in it is named by a hash of
/// its inputs, complete once it has its name, and can be deleted at any time.
struct Cache: Sendable {
    let directory: String

    init() throws {
        let environment = ProcessInfo.processInfo.environment
        // Foundation's home directory is that of the password file, whatever $HOME says.
        directory = environment["XENPR_CACHE"] ?? (environment["HOME"] ?? NSHomeDirectory()) + "/.cache/xenpr"
        try FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: true)
    }

    /// The file or directory `name`; made by `make` at a temporary path, and renamed, if it is not there yet.
    func entry(_ name: String, make: (_ temporary: String) async throws -> Void) async throws -> String {
        let path = "\(directory)/\(name)"
        if FileManager.default.fileExists(atPath: path) {
            try? FileManager.default.setAttributes([.modificationDate: Date()], ofItemAtPath: path)
            return path
        }
        let temporary = "\(directory)/.\(name).\(UUID().uuidString.prefix(8))"
        do {
            try await make(temporary)
        } catch {
            try? FileManager.default.removeItem(atPath: temporary)
            throw error
        }
        // Somebody else may have finished the same entry meanwhile; both are equal.
        guard !FileManager.default.fileExists(atPath: path) else {
            try? FileManager.default.removeItem(atPath: temporary)
            return path
        }
        try FileManager.default.moveItem(atPath: temporary, toPath: path)
        return path
    }

    /// Deletes those of the entries with such names that nobody has asked for within a day, which no run lasts.
    func forget(where isMeant: (_ name: String) -> Bool) {
        let manager = FileManager.default
        for name in (try? manager.contentsOfDirectory(atPath: directory)) ?? [] where isMeant(name) {
            let path = "\(directory)/\(name)"
            let used = try? manager.attributesOfItem(atPath: path)[.modificationDate] as? Date
            if let used, used.timeIntervalSinceNow < -86_400 { try? manager.removeItem(atPath: path) }
        }
    }

    /// A new directory for the logs and disks of one run, named by the time.
    func makeRunDirectory() throws -> String {
        let format = DateFormatter()
        format.locale = Locale(identifier: "en_US_POSIX")
        format.dateFormat = "yyyyMMdd-HHmmss"
        let path = "\(directory)/runs/\(format.string(from: Date()))-\(UUID().uuidString.prefix(4).lowercased())"
        try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
        return path
    }
}

/// A hash that names what is made from its inputs.
struct InputHash {
    private var text = ""

    mutating func add(_ part: String) { text += "\(part.utf8.count):\(part)\n" }

    mutating func add(file path: String) async throws {
        add(String(try await Tool.require("sha256sum", [path]).prefix(64)))
    }

    /// 16 hexadecimal digits.
    func name() async throws -> String {
        String(try await Tool.require("sha256sum", [], input: text).prefix(16))
    }
}
