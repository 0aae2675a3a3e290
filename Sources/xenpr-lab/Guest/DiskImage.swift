import Foundation

/// A file or directory that is put into a guest's root beside what Debian's packages bring.
struct GuestFile: Sendable {
    enum Content: Sendable {
        case text(String)
        /// A file of the host.
        case copy(String)
        /// A symbolic link with this target.
        case link(String)
    }
    /// Absolute path in the guest.
    let path: String
    let content: Content
    var mode = 0o644

    func add(to hash: inout InputHash) async throws {
        hash.add(path)
        hash.add(String(mode))
        switch content {
        case .text(let text): hash.add(text)
        case .copy(let file): try await hash.add(file: file)
        case .link(let target): hash.add(target)
        }
    }
}

/// Raw ext4 images made from directory trees with mke2fs; nothing is mounted.
enum DiskImage {
    /// Makes an ext4 image of a Debian root with further files; the tree itself is left as it is.
    static func make(
        _ name: String, from root: DebianRoot, files: [GuestFile], megabytes: Int, in cache: Cache, progress: Progress
    ) async throws -> String {
        var hash = InputHash()
        hash.add(root.tree)
        hash.add(String(megabytes))
        for file in files { try await file.add(to: &hash) }
        let image = try await "\(name)-\(hash.name()).ext4"
        // Each build of the programs makes an image of its own.
        cache.forget(where: { $0.hasPrefix("\(name)-") && $0.hasSuffix(".ext4") && $0 != image })
        return try await cache.entry(image) { temporary in
            progress("making the disk image of \(name)")
            let tree = temporary + ".tree"
            defer { try? FileManager.default.removeItem(atPath: tree) }
            // Links to the cached files: only what is replaced below becomes a file of its own.
            try await Tool.require("cp", ["-al", root.tree, tree], timeout: .seconds(300))
            for file in files { try install(file, in: tree) }
            try await makeExt4(at: temporary, from: tree, label: "", megabytes: megabytes)
        }
    }

    /// An ext4 file system with the contents of a directory.
    static func makeExt4(at path: String, from tree: String, label: String, megabytes: Int) async throws {
        try await Tool.require("truncate", ["-s", "\(megabytes)M", path])
        try await Tool.require("mke2fs", ["-q", "-F", "-t", "ext4", "-L", label, "-d", tree, path], timeout: .seconds(300))
    }

    private static func install(_ file: GuestFile, in tree: String) throws {
        let manager = FileManager.default
        let path = tree + file.path
        try manager.createDirectory(atPath: (path as NSString).deletingLastPathComponent, withIntermediateDirectories: true)
        // Never write through a hard link into the cached tree.
        try? manager.removeItem(atPath: path)
        switch file.content {
        case .text(let text): try text.write(toFile: path, atomically: false, encoding: .utf8)
        case .copy(let source): try manager.copyItem(atPath: source, toPath: path)
        case .link(let target):
            try manager.createSymbolicLink(atPath: path, withDestinationPath: target)
            return
        }
        try manager.setAttributes(
            [.posixPermissions: file.mode, .ownerAccountID: 0, .groupOwnerAccountID: 0], ofItemAtPath: path)
    }
}
