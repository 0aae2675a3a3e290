import Foundation

/// A Debian root file system with a set of packages, as a directory tree in the cache. Both guests start from one.
struct DebianRoot: Sendable {
    let tree: String

    /// Makes the tree unless it is in the cache.
    ///
    /// - Parameters:
    ///   - name: what it is called in the cache, such as "main".
    ///   - suite: the suite that they come from.
    ///   - packages: Debian packages; their services do not start by themselves while they are installed (mmdebstrap's
    ///     policy-rc.d), and not at boot either unless they are in `services`.
    ///   - services: units that may start at boot, such as ssh.service.
    static func make(
        _ name: String, suite: String, packages: Set<String>, services: Set<String>, kernel: GuestKernel, in cache: Cache,
        progress: Progress
    ) async throws -> DebianRoot {
        let sorted = packages.sorted()
        var hash = InputHash()
        hash.add("3")
        for package in sorted { hash.add(package) }
        for service in services.sorted() { hash.add(service) }
        hash.add(kernel.release)
        if suite != DebianSuite.host { hash.add(suite) }
        let tree = try await cache.entry("\(name)-root-\(hash.name())") { temporary in
            progress("making the Debian root of \(name) with \(sorted.joined(separator: ", "))")
            let archive = temporary + ".tar"
            defer { try? FileManager.default.removeItem(atPath: archive) }
            try await Tool.require("mmdebstrap", arguments(sorted, suite: suite, archive: archive), timeout: .seconds(1200))
            try FileManager.default.createDirectory(atPath: temporary, withIntermediateDirectories: true)
            try await Tool.require("tar", ["-C", temporary, "-xpf", archive], timeout: .seconds(300))
            try await addModules(of: kernel, to: temporary)
            try await disableServices(in: temporary, except: services)
        }
        return DebianRoot(tree: tree)
    }

    private static func arguments(_ packages: [String], suite: String, archive: String) -> [String] {
        let unneeded = ["/usr/share/doc/*", "/usr/share/man/*", "/usr/share/locale/*", "/usr/share/info/*"]
        return ["--variant=minbase", "--quiet", "--aptopt=APT::Install-Recommends \"false\""]
            + unneeded.map { "--dpkgopt=path-exclude=\($0)" }
            + ["--include=\(packages.joined(separator: ","))", suite, archive]
            + (suite == DebianSuite.host ? sources() : [DebianSuite.source(suite)])
    }

    /// The host's own Debian sources, so that a mirror that was configured there is used; mmdebstrap's default otherwise.
    private static func sources() -> [String] {
        ["/etc/apt/sources.list.d/debian.sources", "/etc/apt/sources.list"].filter { path in
            guard let text = try? String(contentsOfFile: path, encoding: .utf8) else { return false }
            return text.split(separator: "\n").contains { !$0.hasPrefix("#") && $0.contains("bookworm") }
        }
    }

    /// Copies the kernel's modules, without the drivers of hardware that no guest has.
    private static func addModules(of kernel: GuestKernel, to tree: String) async throws {
        let absent = [
            "sound", "drivers/gpu", "drivers/media", "drivers/infiniband", "drivers/net/wireless", "drivers/net/ethernet",
            "drivers/staging", "drivers/iio", "drivers/scsi", "drivers/usb",
        ]
        let exclude = absent.map { "--exclude=./kernel/\($0)" }.joined(separator: " ")
        let directory = "\(tree)/usr/lib/modules/\(kernel.release)"
        try FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: true)
        try await Tool.require(
            "/bin/sh", ["-c", "tar -C \(quoted(kernel.modules)) \(exclude) -cf - . | tar -C \(quoted(directory)) -xf -"],
            timeout: .seconds(120))
        try await Tool.require("chroot", [tree, "depmod", kernel.release], timeout: .seconds(120))
    }

    /// Leaves no service and no timer of a package enabled but those that the lab needs.
    private static func disableServices(in tree: String, except wanted: Set<String>) async throws {
        for target in ["multi-user.target.wants", "timers.target.wants", "sysinit.target.wants", "getty.target.wants"] {
            let directory = "\(tree)/etc/systemd/system/\(target)"
            for unit in (try? FileManager.default.contentsOfDirectory(atPath: directory)) ?? [] where !wanted.contains(unit) {
                try FileManager.default.removeItem(atPath: "\(directory)/\(unit)")
            }
        }
        // Units that cost seconds of boot in emulation and that no case can miss.
        let slow = [
            "getty.target", "getty-static.service", "serial-getty@ttyS0.service", "serial-getty@hvc0.service",
            "systemd-update-utmp.service", "systemd-update-utmp-runlevel.service", "systemd-binfmt.service",
            "systemd-firstboot.service", "systemd-machine-id-commit.service", "systemd-repart.service",
            "systemd-sysusers.service",
            "systemd-random-seed.service", "systemd-journal-flush.service", "systemd-pcrphase.service",
            "systemd-pcrphase-sysinit.service", "modprobe@drm.service", "dev-hugepages.mount",
            "proc-sys-fs-binfmt_misc.automount", "sys-fs-fuse-connections.mount", "sys-kernel-config.mount",
            "systemd-ask-password-console.path", "systemd-ask-password-wall.path", "e2scrub_reap.service", "remote-fs.target",
        ]
        let units = "\(tree)/etc/systemd/system"
        for unit in slow where !FileManager.default.fileExists(atPath: "\(units)/\(unit)") {
            try FileManager.default.createSymbolicLink(atPath: "\(units)/\(unit)", withDestinationPath: "/dev/null")
        }
    }
}
