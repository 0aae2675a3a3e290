import CLinux
import Glibc

/// Mounts each tmpfs again that somebody had mounted in the guest and that groups use. What was in it is put back by the catch-up of files.
struct MemoryMounts {
    /// Those that were mounted.
    private var mounted: [RecoveryManifest.MemoryMount] = []

    /// Directories that were made for them.
    private(set) var made: Set<FileCatchUp.FileNumber> = []

    /// TMPFS_MAGIC of linux/magic.h.
    private static let type = 0x0102_1994
    /// What a device number is looked for among.
    private static let attempts = 4096
    private static let readOnly: UInt64 = 1 << 0
    /// MS_* and MOUNT_ATTR_* (linux/mount.h); that it is read-only comes last, when all files are in it.
    private static let attributes: [(flag: UInt64, attribute: UInt32)] = [
        (1 << 1, 0x2),  // NOSUID
        (1 << 2, 0x4),  // NODEV
        (1 << 3, 0x8),  // NOEXEC
        (1 << 8, 0x20_0000),  // NOSYMFOLLOW
        (1 << 10, 0x10),  // NOATIME
        (1 << 11, 0x80),  // NODIRATIME
        (1 << 24, 0x20),  // STRICTATIME
    ]

    /// Mounts one, unless the boot has done so by itself. Fails where it would hide something.
    mutating func mount(_ memory: RecoveryManifest.MemoryMount) throws(AgentError) {
        guard let root = Descriptor(taking: System.open("/", O_RDONLY | O_DIRECTORY)) else {
            throw systemError("cannot open /")
        }
        let path = try relative(memory.path)
        var missing: [String] = []
        var place = memory.path
        while place != "/", !System.exists(place) {
            missing.append(place)
            place = parent(of: place)
        }
        try makeDirectories(memory.path)
        for path in missing {
            guard let directory = Descriptor(taking: System.open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW)),
                let status = System.status(directory.number)
            else { continue }
            made.insert(FileCatchUp.FileNumber(status))
        }
        guard let directory = Descriptor(taking: System.openBeneath(root, path, O_RDONLY | O_DIRECTORY)) else {
            throw systemError("the directory to mount it over cannot be opened")
        }
        if isMountPoint(memory.path), System.filesystemType(memory.path) == Self.type { return }
        guard System.list(memory.path).isEmpty else {
            throw AgentError(description: "it is not mounted again, for it would hide what is there now")
        }
        guard let new = Descriptor(taking: make(memory)) else { throw systemError("it cannot be mounted again (tmpfs)") }
        guard xpr_attach_mount(new.number, directory.number) == 0 else { throw systemError("it cannot be mounted again") }
        mounted.append(memory)
    }

    /// Makes the filesystem with the device number that it had, by which programs know a file from another, if that number is free.
    ///
    /// The kernel gives the lowest that is (`get_anon_bdev` of fs/super.c), so what it gives before is kept until then.
    private func make(_ memory: RecoveryManifest.MemoryMount) -> Int32 {
        let attributes = Self.attributes.reduce(UInt32(0)) { memory.flags & $1.flag == 0 ? $0 : $0 | $1.attribute }
        let options = [("source", memory.source)] + memory.options
        var others: [Int32] = []
        defer { for other in others { close(other) } }
        while true {
            let new = System.makeMount("tmpfs", options, attributes: attributes)
            // Without descriptors for more of them the last one has to do.
            guard new >= 0, let status = System.status(new) else { return new < 0 ? others.popLast() ?? new : new }
            let minor = Self.minor(status.st_dev)
            if minor >= memory.minor || others.count >= Self.attempts {
                if minor != memory.minor {
                    printError("\(memory.path) is mounted again as device 0:\(minor), for 0:\(memory.minor) is not free")
                }
                return new
            }
            others.append(new)
        }
    }

    /// As `gnu_dev_minor` of sys/sysmacros.h.
    private static func minor(_ device: dev_t) -> UInt32 {
        UInt32(truncatingIfNeeded: device & 0xff | device >> 12 & ~0xff)
    }

    /// To be called when all files are in their places.
    func finish() {
        for memory in mounted where memory.flags & Self.readOnly != 0 {
            // MS_REMOUNT | MS_BIND
            _ = System.mount("none", memory.path, "tmpfs", UInt(memory.flags | 1 << 5 | 1 << 12))
        }
    }
}

/// Whether something is mounted there: it has another device number than the directory above it.
func isMountPoint(_ path: String) -> Bool {
    guard let directory = Descriptor(taking: System.open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW)),
        let status = System.status(directory.number), let above = System.status(directory, "..")
    else { return false }
    return status.st_dev != above.st_dev
}
