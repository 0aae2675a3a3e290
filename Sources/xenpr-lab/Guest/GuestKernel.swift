import Foundation

/// Debian's stock kernel for the guests, unpacked beside the host's own system, never installed on it.
struct GuestKernel: Sendable {
    /// The kernel's version as `uname -r` gives it, such as 6.1.0-56-amd64.
    let release: String
    /// The unpacked package.
    let tree: String

    /// Beside its modules where a kernel is split into packages.
    var image: String {
        let beside = "\(modules)/vmlinuz"
        return FileManager.default.fileExists(atPath: beside) ? beside : "\(tree)/boot/vmlinuz-\(release)"
    }
    /// Below /usr since Debian 13.
    var modules: String {
        let merged = "\(tree)/usr/lib/modules/\(release)"
        return FileManager.default.fileExists(atPath: merged) ? merged : "\(tree)/lib/modules/\(release)"
    }

    /// The newest one of a guest's system.
    static func newest(for system: GuestSystem, in cache: Cache, progress: Progress) async throws -> GuestKernel {
        let suite = try await DebianSuite.make(system.kernelSuite, in: cache, progress: progress)
        let dependencies = try await Tool.require("apt-cache", suite.aptOptions + ["depends", system.kernelPackage])
        let packages = dependencies.split(whereSeparator: \.isWhitespace).filter {
            $0.hasPrefix("linux-image-") && $0.dropFirst("linux-image-".count).first?.isNumber == true
        }
        guard let package = packages.first.map(String.init) else {
            throw LabFailure(
                "cannot find the kernel of \(system.rawValue): apt knows no \(system.kernelPackage) that depends on a kernel; "
                    + "add Debian 12 (bookworm) to the host's apt sources and run apt-get update")
        }
        let release = String(package.dropFirst("linux-image-".count))
        let tree = try await cache.entry("kernel-\(release)") { temporary in
            progress("downloading the kernel package \(package)")
            let download = temporary + ".download"
            defer { try? FileManager.default.removeItem(atPath: download) }
            try FileManager.default.createDirectory(atPath: download, withIntermediateDirectories: true)
            try await Tool.require(
                "apt-get", suite.aptOptions + ["-q", "download", package] + (try await parts(of: package, in: suite)),
                directory: download, timeout: .seconds(600))
            let files = try FileManager.default.contentsOfDirectory(atPath: download).filter { $0.hasSuffix(".deb") }
            guard !files.isEmpty else { throw LabFailure("cannot download \(package): apt-get download left no package file") }
            for file in files {
                try await Tool.require("dpkg-deb", ["-x", "\(download)/\(file)", temporary], timeout: .seconds(120))
            }
        }
        return GuestKernel(release: release, tree: tree)
    }

    /// Packages that a kernel of 2026 and later is split into.
    private static func parts(of package: String, in suite: DebianSuite) async throws -> [String] {
        let dependencies = try await Tool.require("apt-cache", suite.aptOptions + ["depends", package])
        return dependencies.split(whereSeparator: \.isWhitespace).map(String.init).filter { name in
            ["linux-base-", "linux-binary-", "linux-modules-"].contains { name.hasPrefix($0) }
        }
    }
}
