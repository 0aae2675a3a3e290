import GuestMemory
import KernelObjects
import KernelTypes

extension KernelReader {
    /// What the filesystem would have to be mounted with to be the same again.
    func mountOptions(ofSuperblock superblock: VirtualAddress, type: String, _ layout: MountLayout) throws(MemoryFault)
        -> String
    {
        let info = try pointer(layout.superblockInfo, of: superblock)
        guard !info.isNull else { return "" }
        func octal(_ field: Field) throws(MemoryFault) -> String {
            String(try value(field, of: info) & 0o7777, radix: 8)
        }
        switch type {
        case "tmpfs":
            guard let fields = layout.memory else { return "" }
            var options = "mode=0\(try octal(fields.mode))"
            // By default half of the memory, whatever that will be (shmem_default_max_blocks, shmem_default_max_inodes of mm/shmem.c).
            let half = (try variable("_totalram_pages") ?? 0) / 2
            let blocks = try value(fields.blocks, of: info)
            if blocks != half { options += ",size=\(blocks &* 4)k" }
            let inodes = try value(fields.inodes, of: info)
            if inodes != half { options += ",nr_inodes=\(inodes)" }
            for (name, field) in [("uid", fields.uid), ("gid", fields.gid)] {
                let id = try uint32(field, of: info)
                if id != 0 { options += ",\(name)=\(id)" }
            }
            return options
        case "devpts":
            guard let fields = layout.terminals else { return "newinstance" }
            var options = "newinstance,mode=0\(try octal(fields.mode)),ptmxmode=0\(try octal(fields.masterMode))"
            for (name, isSet, field) in [("uid", fields.hasUID, fields.uid), ("gid", fields.hasGID, fields.gid)]
            where try value(isSet, of: info) != 0 { options += ",\(name)=\(try uint32(field, of: info))" }
            return options
        case "proc":
            guard let fields = layout.processes else { return "" }
            var options: [String] = []
            let hidden = try value(fields.hidden, of: info)
            if hidden != 0 { options.append("hidepid=\(hidden)") }
            let group = try uint32(fields.group, of: info)
            if group != 0 { options.append("gid=\(group)") }
            // PROC_PIDONLY_ON of include/linux/proc_fs.h
            if try value(fields.onlyProcesses, of: info) == 1 { options.append("subset=pid") }
            return options.joined(separator: ",")
        default: return ""
        }
    }
}

/// From the kernel's flags (include/linux/mount.h, include/linux/fs.h) to those of mount(2).
enum MountFlags {
    /// MNT_* and MS_*.
    private static let pairs: [(kernel: UInt64, call: UInt64)] = [
        (1 << 0, 1 << 1),  // NOSUID
        (1 << 1, 1 << 2),  // NODEV
        (1 << 2, 1 << 3),  // NOEXEC
        (1 << 3, 1 << 10),  // NOATIME
        (1 << 4, 1 << 11),  // NODIRATIME
        (1 << 5, 1 << 21),  // RELATIME
        (1 << 6, 1 << 0),  // READONLY, RDONLY
        (1 << 7, 1 << 8),  // NOSYMFOLLOW
    ]
    private static let strictAccessTime: UInt64 = 1 << 24

    static func forMount(_ bits: UInt64) -> UInt64 {
        let flags = pairs.reduce(0) { bits & $1.kernel == 0 ? $0 : $0 | $1.call }
        // The kernel takes relatime when it is told neither.
        return flags & (1 << 10 | 1 << 21) == 0 ? flags | strictAccessTime : flags
    }

    /// SB_RDONLY, SB_SYNCHRONOUS, SB_DIRSYNC, which are the same numbers.
    static func forFilesystem(_ bits: UInt64) -> UInt64 { bits & (1 << 0 | 1 << 4 | 1 << 7) }
}
