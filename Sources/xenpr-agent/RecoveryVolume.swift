import CLinux
import Glibc

/// The block device that the minor wrote the checkpoints to: ext4 with the label `xenpr-recovery`.
struct RecoveryVolume {
    /// The device, such as /dev/xvdr.
    let device: String

    static let label = "xenpr-recovery"
    static let mountPoint = "/run/xenpr/recovery"

    /// The volume, or nil when no block device has that label.
    ///
    /// Disks of a Xen guest connect one after the other in the background, so when some are still on their way the search is
    /// repeated at each device event, up to `timeoutMilliseconds` in all.
    static func find(timeoutMilliseconds: Int32 = 10_000) -> RecoveryVolume? {
        guard let events = Descriptor(taking: xpr_device_events()) else { return search() }
        let deadline = monotonicSeconds() + Double(timeoutMilliseconds) / 1000
        while true {
            if let volume = search() { return volume }
            let remaining = deadline - monotonicSeconds()
            // One may have connected between the two looks.
            guard remaining > 0, isDiskOnItsWay else { return search() }
            _ = System.poll([events.number], milliseconds: min(Int32(remaining * 1000) + 1, 250))
            var event = [UInt8](repeating: 0, count: 8192)
            while System.read(events.number, into: &event) > 0 {}
        }
    }

    private static func search() -> RecoveryVolume? {
        for name in entries(of: "/sys/class/block") where hasLabel("/dev/\(name)") {
            return RecoveryVolume(device: "/dev/\(name)")
        }
        return nil
    }

    /// Mounts the volume. What is already mounted there, by a restore that was interrupted, is used as it is.
    func mount() throws(AgentError) {
        try makeDirectories("/run/xenpr", mode: 0o700)
        try makeDirectories(Self.mountPoint, mode: 0o700)
        if System.mount(device, Self.mountPoint, "ext4", UInt(MS_NOSUID | MS_NODEV | MS_NOEXEC)) != 0, errno != EBUSY {
            throw systemError("cannot mount the recovery volume \(device) on \(Self.mountPoint)")
        }
    }

    /// Unmounts the volume, so that it can be detached; at once from the tree of files, and for good when nothing uses it.
    func unmount() {
        System.unmount(Self.mountPoint)
    }

    /// Whether the device holds an ext2/3/4 file system of that label (`fs/ext4/ext4.h`, struct ext4_super_block: s_magic at
    /// 0x38, s_volume_name at 0x78, of the superblock at byte 1024).
    private static func hasLabel(_ device: String) -> Bool {
        guard let file = Descriptor(taking: System.open(device, O_RDONLY | O_NONBLOCK)) else { return false }
        guard let status = System.status(file.number), status.st_mode & S_IFMT == S_IFBLK else { return false }
        var block = [UInt8](repeating: 0, count: 2048)
        guard System.read(file.number, into: &block) == block.count else { return false }
        let superblock = block[1024...]
        guard superblock[1024 + 0x38] == 0x53, superblock[1024 + 0x39] == 0xef else { return false }
        let name = superblock[(1024 + 0x78)..<(1024 + 0x88)].prefix { $0 != 0 }
        return String(decoding: name, as: UTF8.self) == label
    }

    /// Whether a Xen disk frontend is not connected yet (XenbusStateConnected is 4, the states before it are smaller).
    private static var isDiskOnItsWay: Bool {
        entries(of: "/sys/bus/xen/devices").contains { name in
            guard name.hasPrefix("vbd-"), let state = readText("/sys/bus/xen/devices/\(name)/state") else { return false }
            return ["Unknown", "Initialising", "InitWait", "Initialised"].contains(String(state.prefix { $0 != "\n" }))
        }
    }
}

/// The names in a directory, sorted, without "." and ".."; none when it cannot be read.
func entries(of directory: String) -> [String] {
    System.list(directory).sorted()
}
