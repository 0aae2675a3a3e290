import Foundation

/// The first user space of a guest: busybox and the modules that it takes to mount the ext4 root from a virtio or a Xen disk.
enum Initramfs {
    private static let modules = ["virtio_pci", "virtio_blk", "xen-blkfront", "ext4", "crc32c_generic"]

    /// What a guest says on its console once its kernel has come up.
    static let userSpaceBegins = "xenpr-lab: user space begins"

    /// Mounts the device of `root=` read-write, which replays its journal after a crash, and starts systemd.
    private static let initScript = """
        #!/bin/busybox sh
        export PATH=/bin
        echo "\(userSpaceBegins)"
        /bin/busybox --install -s /bin
        mount -t proc proc /proc
        mount -t sysfs sysfs /sys
        mount -t devtmpfs dev /dev
        while read -r module; do insmod "$module"; done < /modules
        root=/dev/vda
        for word in $(cat /proc/cmdline); do
            case $word in root=*) root=${word#root=} ;; esac
        done
        tries=0
        until [ -b "$root" ]; do
            usleep 20000
            tries=$((tries + 1))
            [ $tries -lt 1500 ] || { echo "xenpr-lab: no root device $root"; poweroff -f; }
        done
        mount -t ext4 -o rw "$root" /root || { echo "xenpr-lab: cannot mount $root"; poweroff -f; }
        umount /sys
        umount /proc
        mount --move /dev /root/dev
        exec switch_root /root /sbin/init

        """

    /// Makes the archive for a root tree that has the kernel's modules.
    static func make(for root: DebianRoot, kernel: GuestKernel, in cache: Cache) async throws -> String {
        let busybox = "/bin/busybox"
        guard FileManager.default.isExecutableFile(atPath: busybox) else {
            throw LabFailure("cannot make a guest's initramfs: \(busybox) is missing; apt-get install busybox-static")
        }
        var hash = InputHash()
        hash.add(initScript)
        for module in modules { hash.add(module) }
        hash.add(kernel.release)
        try await hash.add(file: busybox)
        return try await cache.entry("initrd-\(hash.name())") { temporary in
            let tree = temporary + ".tree"
            defer { try? FileManager.default.removeItem(atPath: tree) }
            for directory in ["bin", "proc", "sys", "dev", "root", "lib"] {
                try FileManager.default.createDirectory(atPath: "\(tree)/\(directory)", withIntermediateDirectories: true)
            }
            try FileManager.default.copyItem(atPath: busybox, toPath: "\(tree)/bin/busybox")
            try await addModules(of: root, kernel: kernel, to: tree)
            try initScript.write(toFile: "\(tree)/init", atomically: false, encoding: .utf8)
            try FileManager.default.setAttributes([.posixPermissions: 0o755], ofItemAtPath: "\(tree)/init")
            try await Tool.require(
                "/bin/sh", ["-c", "find . | cpio -o -H newc --quiet | gzip -1 > \(quoted(temporary))"], directory: tree)
        }
    }

    private static func addModules(of root: DebianRoot, kernel: GuestKernel, to tree: String) async throws {
        var order: [String] = []
        for module in modules {
            let found = try await Tool.run(
                "chroot", [root.tree, "modprobe", "-S", kernel.release, "--show-depends", module], timeout: .seconds(60))
            // A module that a kernel does not have it does not need: ext4 took crc32c_generic only until Linux 6.16. Without its disk main does not come up.
            let lines = found.succeeded ? found.output : ""
            for line in lines.split(separator: "\n") where line.hasPrefix("insmod ") {
                guard let path = line.split(separator: " ").dropFirst().first.map(String.init) else { continue }
                if !order.contains(path) { order.append(path) }
            }
        }
        var list = ""
        for path in order {
            let name = (path as NSString).lastPathComponent
            try FileManager.default.copyItem(atPath: root.tree + path, toPath: "\(tree)/lib/\(name)")
            list += "/lib/\(name)\n"
        }
        try list.write(toFile: "\(tree)/modules", atomically: false, encoding: .utf8)
    }
}
