import Foundation

/// What the host can do for guests.
enum HostProcessor {
    /// Whether a guest really runs on /dev/kvm: the device may be there and still start none, as inside some virtual machines.
    ///
    /// Asked by starting QEMU with a guest that shuts down in its first instructions.
    static func startsKVMGuests() async -> Bool {
        guard FileManager.default.isWritableFile(atPath: "/dev/kvm") else { return false }
        // With no disk the firmware ends at "no bootable device" and, with -boot reboot-timeout=0 and -no-reboot, QEMU exits.
        let result = try? await Tool.run(
            "qemu-system-x86_64",
            [
                "-accel", "kvm", "-cpu", "host", "-m", "64", "-display", "none", "-nodefaults", "-no-reboot", "-boot",
                "reboot-timeout=0",
            ], timeout: .seconds(20))
        return result?.succeeded ?? false
    }
}
