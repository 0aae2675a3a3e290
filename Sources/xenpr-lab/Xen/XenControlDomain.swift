import Foundation

/// What a whole Xen host needs beside main's image.
struct XenImages: Sendable {
    let hypervisor: XenHypervisor
    let control: XenControlDomain
    /// Of the control domain and of the minor, whatever main runs.
    let kernel: GuestKernel

    static func make(key: LabKey, in cache: Cache, progress: Progress) async throws -> XenImages {
        let kernel = try await GuestKernel.newest(for: .bookworm, in: cache, progress: progress)
        return XenImages(
            hypervisor: try await XenHypervisor.make(in: cache, progress: progress),
            control: try await XenControlDomain.make(kernel: kernel, key: key, in: cache, progress: progress), kernel: kernel)
    }
}

/// What the control domain boots from: Debian with Xen's tools, an init of the lab's own, and sshd.
struct XenControlDomain: Sendable {
    let initramfs: String
    /// A raw ext4 root that runs never write to.
    let disk: String

    private static let packages: Set<String> = [
        "xen-utils-4.17", "xenstore-utils", "kmod", "udev", "iproute2", "iputils-ping", "procps", "openssh-server", "e2fsprogs",
        "libsqlite3-0", "zlib1g", "liblzo2-2", "libsnappy1v5", "libzstd1", "netcat-openbsd", "curl", "python3", "redis-tools",
    ]

    static func make(kernel: GuestKernel, key: LabKey, in cache: Cache, progress: Progress) async throws -> XenControlDomain {
        let root = try await DebianRoot.make(
            "control", suite: DebianSuite.host, packages: packages, services: [], kernel: kernel, in: cache, progress: progress)
        let files = [
            GuestFile(path: "/usr/sbin/init", content: .text(initScript), mode: 0o755),
            GuestFile(path: "/etc/hostname", content: .text("control\n")),
            GuestFile(path: "/etc/hosts", content: .text("127.0.0.1 localhost control\n\(LabNetwork.main) main\n")),
            GuestFile(path: "/etc/fstab", content: .text("")),
            GuestFile(path: "/etc/xen/xl.conf", content: .text("autoballoon=\"off\"\n")),
            GuestFile(path: "/etc/ssh/sshd_config.d/xenpr-lab.conf", content: .text("UseDNS no\nUsePAM no\nMaxSessions 100\n")),
            GuestFile(path: "/root/.ssh/authorized_keys", content: .text(key.publicText), mode: 0o600),
            GuestFile(path: "/usr/sbin/xenpr", content: .link("/usr/lib/xenpr/xenpr")),
            GuestFile(path: "/usr/sbin/xenprd", content: .link("/usr/lib/xenpr/xenprd")),
            GuestFile(path: "/etc/xen/main.cfg", content: .link("/usr/lib/xenpr/main.cfg")),
        ]
        return XenControlDomain(
            initramfs: try await Initramfs.make(for: root, kernel: kernel, in: cache),
            disk: try await DiskImage.make("control", from: root, files: files, megabytes: 2048, in: cache, progress: progress))
    }

    /// Mounts, Xen's services, the bridge to main, sshd; no service manager, which would take half a minute in emulation.
    ///
    /// /dev/stdin and its like must be there: Xen's hotplug scripts hang without them.
    private static let initScript = """
        #!/bin/sh
        export PATH=/usr/sbin:/usr/bin:/sbin:/bin:/usr/lib/xen-4.17/bin HOME=/root
        mount -t proc proc /proc
        mount -t sysfs sysfs /sys
        mkdir -p /dev/pts /dev/shm
        mount -t devpts devpts /dev/pts
        mount -t tmpfs tmpfs /run
        mount -t tmpfs tmpfs /tmp
        ln -sfn /proc/self/fd /dev/fd
        ln -sfn fd/0 /dev/stdin
        ln -sfn fd/1 /dev/stdout
        ln -sfn fd/2 /dev/stderr
        mkdir -p /run/xen /run/lock /run/sshd /run/xenstored /run/xenpr /var/log/xen/console /var/lib/xen /var/lib/xenpr
        modprobe -a virtio_net xen-evtchn xen-gntdev xen-gntalloc xen-privcmd xenfs xen-blkback xen-netback bridge loop
        mount -t xenfs xenfs /proc/xen
        mkdir -p /usr/lib/xenpr
        mount -t ext4 -o ro /dev/vdd /usr/lib/xenpr
        ip link set lo up
        ip link add xenbr0 type bridge
        ip link set eth0 master xenbr0
        ip link set eth0 up
        ip address add \(LabNetwork.control)/24 dev xenbr0
        ip link set xenbr0 up
        xenstored --pid-file /run/xenstored.pid
        xenstore-write /local/domain/0/domid 0
        xen-init-dom0
        xenconsoled --log=all --log-dir=/var/log/xen/console --pid-file=/run/xenconsoled.pid
        /usr/sbin/sshd
        echo "control domain: ready"
        while :; do
            sleep 3600 &
            wait
        done

        """
}
