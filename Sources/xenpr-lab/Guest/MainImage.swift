import Foundation

/// What main boots from, in QEMU (virtio disk) and as a domain of Xen (xvda) alike.
struct MainImage: Sendable {
    let kernel: GuestKernel
    let initramfs: String
    /// A raw ext4 root that runs never write to: each takes an overlay or a copy.
    let disk: String
    let key: LabKey

    /// What main always has.
    static let packages: Set<String> = [
        "systemd", "systemd-sysv", "dbus", "openssh-server", "criu", "python3", "kmod", "iproute2", "procps", "netbase",
    ]

    /// The kernel's command line, the same in both modes but for the console and the disk.
    static func commandLine(console: String, root: String, address: String) -> String {
        "console=\(console) root=\(root) xenpr.address=\(address)/24 net.ifnames=0 quiet loglevel=5 panic=0 "
            + "systemd.show_status=0"
    }

    /// Makes the image unless it is in the cache.
    ///
    /// - Parameters:
    ///   - system: which Debian it is.
    ///   - packages: the union of what the cases need.
    ///   - agent: the static xenpr-agent of this build, and its systemd unit.
    static func make(
        _ system: GuestSystem, packages: Set<String>, agent: AgentFiles, in cache: Cache, progress: Progress
    ) async throws -> MainImage {
        let kernel = try await GuestKernel.newest(for: system, in: cache, progress: progress)
        let key = try await LabKey.make(in: cache)
        let root = try await DebianRoot.make(
            "main", suite: system.rootSuite, packages: Self.packages.union(packages), services: ["ssh.service"], kernel: kernel,
            in: cache,
            progress: progress)
        let initramfs = try await Initramfs.make(for: root, kernel: kernel, in: cache)
        let disk = try await DiskImage.make(
            "main", from: root, files: files(agent: agent, key: key), megabytes: 3072, in: cache, progress: progress)
        return MainImage(kernel: kernel, initramfs: initramfs, disk: disk, key: key)
    }

    /// `criu check` fails without the first ones; the others are for the lab's hardware and network.
    private static let modules = [
        "unix_diag", "inet_diag", "tcp_diag", "udp_diag", "raw_diag", "netlink_diag", "af_packet_diag", "nfnetlink",
        "nf_tables",
        "tun", "veth", "virtio_net", "xen-netfront", "qemu_fw_cfg", "pvpanic", "pvpanic-pci",
    ]

    private static func files(agent: AgentFiles, key: LabKey) -> [GuestFile] {
        [
            GuestFile(path: "/etc/hostname", content: .text("main\n")),
            GuestFile(path: "/etc/hosts", content: .text("127.0.0.1 localhost main\n::1 localhost\n")),
            GuestFile(path: "/etc/machine-id", content: .text("0a1b2c3d4e5f60718293a4b5c6d7e8f9\n")),
            GuestFile(path: "/etc/fstab", content: .text("")),
            GuestFile(path: "/usr/lib/xenpr-lab/modules", content: .text(modules.joined(separator: " ") + "\n")),
            // A panic stays on the screen; a crash dump is what happens next, not a reboot.
            GuestFile(path: "/etc/sysctl.d/90-xenpr-lab.conf", content: .text("kernel.panic = 0\nkernel.sysrq = 1\n")),
            GuestFile(path: "/root/.ssh/authorized_keys", content: .text(key.publicText), mode: 0o600),
            GuestFile(path: "/etc/ssh/sshd_config.d/xenpr-lab.conf", content: .text("UseDNS no\nUsePAM no\nMaxSessions 100\n")),
            GuestFile(path: "/usr/lib/xenpr-lab/network", content: .text(GuestNetwork.script), mode: 0o755),
            GuestFile(path: "/etc/systemd/system/xenpr-lab-network.service", content: .text(GuestNetwork.unit)),
            GuestFile(
                path: "/etc/systemd/system/multi-user.target.wants/xenpr-lab-network.service",
                content: .link("/etc/systemd/system/xenpr-lab-network.service")),
            GuestFile(path: "/usr/sbin/xenpr-agent", content: .copy(agent.program), mode: 0o755),
            GuestFile(path: "/etc/systemd/system/xenpr-agent.service", content: .copy(agent.unit)),
            GuestFile(
                path: "/etc/systemd/system/sysinit.target.wants/xenpr-agent.service",
                content: .link("/etc/systemd/system/xenpr-agent.service")),
        ]
    }
}

/// The agent as it is installed in main.
struct AgentFiles: Sendable {
    /// The static program of this build.
    let program: String
    /// Its systemd unit, from Support/.
    let unit: String
}
