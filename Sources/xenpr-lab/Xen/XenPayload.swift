import Foundation

/// The disk with what this build and this run bring to the control domain: our programs, the kernels and initramfs of main and
/// the minor, main's configuration. It is mounted there at /usr/lib/xenpr.
enum XenPayload {
    static func make(
        image: MainImage, hostKernel: GuestKernel, programs: Programs, type: GuestType, cache: Cache, at path: String
    ) async throws {
        let tree = path + ".tree"
        let manager = FileManager.default
        try manager.createDirectory(atPath: tree, withIntermediateDirectories: true)
        defer { try? manager.removeItem(atPath: tree) }
        try manager.copyItem(atPath: programs.xenpr, toPath: "\(tree)/xenpr")
        try manager.copyItem(atPath: programs.xenprd, toPath: "\(tree)/xenprd")
        for program in ["xenpr", "xenprd"] { try await Tool.require("strip", ["\(tree)/\(program)"]) }
        try manager.copyItem(
            atPath: try await XenGuestKernel.uncompressed(hostKernel, in: cache), toPath: "\(tree)/minor-vmlinuz")
        let mainKernel = try await XenGuestKernel.uncompressed(image.kernel, in: cache)
        if image.kernel.release == hostKernel.release {
            try manager.linkItem(atPath: "\(tree)/minor-vmlinuz", toPath: "\(tree)/main-vmlinux")
        } else {
            try manager.copyItem(atPath: mainKernel, toPath: "\(tree)/main-vmlinux")
        }
        try manager.copyItem(atPath: image.initramfs, toPath: "\(tree)/main-initrd")
        try configuration(type).write(toFile: "\(tree)/main.cfg", atomically: false, encoding: .utf8)
        let minor = "\(path).minor"
        defer { try? manager.removeItem(atPath: minor) }
        try await Tool.require("strip", ["-o", minor, programs.minor])
        let modules = ["xen-privcmd", "xen-blkfront", "ext4"].flatMap { ["--module", $0] } + ["--optional", "crc32c_generic"]
        try await Tool.require(
            "\(programs.repository)/Support/make-initrd",
            ["--init", minor, "--modules", hostKernel.modules, "--out", "\(tree)/minor-initrd"] + modules)
        try await DiskImage.makeExt4(at: path, from: tree, label: "xenpr-payload", megabytes: 320)
    }

    /// xl.cfg(5) of main. A guest whose TSC is emulated fails in QEMU ("Insn len emulation failed"), hence tsc_mode; one that moves
    /// between CPUs may be lost by it, hence cpus (see XenMachine).
    private static func configuration(_ type: GuestType) -> String {
        """
        name = "main"
        type = "\(type.rawValue)"
        kernel = "/usr/lib/xenpr/main-vmlinux"
        ramdisk = "/usr/lib/xenpr/main-initrd"
        cmdline = "\(MainImage.commandLine(console: "hvc0", root: "/dev/xvda", address: LabNetwork.main))"
        memory = 1024
        vcpus = 2
        cpus = "1"
        tsc_mode = "native"
        disk = ["phy:/dev/vdb,xvda,w"]
        vif = ["bridge=xenbr0,mac=00:16:3e:58:50:52"]
        on_crash = "preserve"
        on_watchdog = "preserve"

        """
    }
}
