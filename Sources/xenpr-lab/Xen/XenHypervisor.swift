import Foundation

/// Debian's Xen for the lab, unpacked beside the host's own system, never installed on it.
struct XenHypervisor: Sendable {
    /// The hypervisor as QEMU boots it: a multiboot ELF file.
    let image: String

    private static let package = "xen-hypervisor-4.17-amd64"

    static func make(in cache: Cache, progress: Progress) async throws -> XenHypervisor {
        let tree = try await cache.entry("xen-4.17") { temporary in
            progress("downloading \(package)")
            let download = temporary + ".download"
            defer { try? FileManager.default.removeItem(atPath: download) }
            try FileManager.default.createDirectory(atPath: download, withIntermediateDirectories: true)
            try await Tool.require("apt-get", ["-q", "download", package], directory: download, timeout: .seconds(600))
            guard
                let file = try FileManager.default.contentsOfDirectory(atPath: download).first(where: { $0.hasSuffix(".deb") })
            else { throw LabFailure("cannot download \(package): apt-get download left no package file") }
            try await Tool.require("dpkg-deb", ["-x", "\(download)/\(file)", temporary], timeout: .seconds(120))
            let boot = quoted("\(temporary)/boot")
            try await Tool.require("/bin/sh", ["-c", "gunzip -c \(boot)/xen-4.17-amd64.gz > \(boot)/xen"])
        }
        return XenHypervisor(image: "\(tree)/boot/xen")
    }
}

/// A guest kernel without its compression: a domain builder in emulation needs many seconds to decompress a bzImage, at
/// each creation of a domain.
enum XenGuestKernel {
    /// The ELF file inside a bzImage (Documentation/x86/boot.rst: payload_offset and payload_length).
    static func uncompressed(_ kernel: GuestKernel, in cache: Cache) async throws -> String {
        try await cache.entry("vmlinux-\(kernel.release)") { temporary in
            let image = try Data(contentsOf: URL(fileURLWithPath: kernel.image))
            let failure = LabFailure("cannot find the payload of \(kernel.image): it is no bzImage")
            guard image.count > 0x250, image[0x202..<0x206].elementsEqual("HdrS".utf8) else { throw failure }
            let sectors = image[0x1f1] == 0 ? 4 : Int(image[0x1f1])
            let start = (sectors + 1) * 512 + word(image, 0x248)
            let length = word(image, 0x24c)
            guard start <= image.count, length <= image.count - start else { throw failure }
            let packed = temporary + ".packed"
            defer { try? FileManager.default.removeItem(atPath: packed) }
            let all = image[start..<start + length]
            // The kernel has the length of what is packed behind it, which zstd and lz4 take for a second stream.
            let payload = [0x28, 0x02].contains(all.first) ? all.dropLast(4) : all
            try payload.write(to: URL(fileURLWithPath: packed))
            let script = "\(tool(for: payload)) < \(quoted(packed)) > \(quoted(temporary))"
            try await Tool.require("/bin/sh", ["-c", script], timeout: .seconds(120))
        }
    }

    /// The program for the payload's first bytes.
    private static func tool(for payload: Data) -> String {
        switch payload.first {
        case 0x1f: "gzip -dcq"
        case 0x28: "zstd -dcq"
        case 0x02: "lz4 -dcq"
        default: "xz -dcq --single-stream"
        }
    }

    private static func word(_ data: Data, _ offset: Int) -> Int {
        (0..<4).reduce(0) { $0 | Int(data[offset + $1]) << ($1 * 8) }
    }
}
