import GuestMemory
import ProcessModel

/// The contents of a tmpfs as the tar archive that CRIU unpacks into a new one (`tmpfs_restore` of criu/filesystems.c).
enum MemoryArchive {
    static func write<Supply: PageSupply & ~Copyable>(
        _ filesystem: MemoryFilesystem, device: UInt64, to archive: inout StoredGzip, pages supply: inout Supply
    ) throws(CheckpointError) {
        // Names of one inode: all but the first are links to it.
        var names: [UInt64: KernelString] = [:]
        for entry in filesystem.entries {
            if entry.kind != .directory {
                if let first = names[entry.inode] {
                    let link = Array("./".utf8) + first.bytes
                    if entry.kind != .socket { try archive.append(TarHeader.blocks(.hardLink, entry, link: link)) }
                    continue
                }
                names[entry.inode] = entry.path
            }
            switch entry.kind {
            case .directory: try archive.append(TarHeader.blocks(.directory, entry))
            case .symbolicLink(let target):
                try archive.append(TarHeader.blocks(.symbolicLink, entry, link: target.bytes))
            case .characterDevice(let major, let minor):
                try archive.append(TarHeader.blocks(.characterDevice, entry, device: (major, minor)))
            case .blockDevice(let major, let minor):
                try archive.append(TarHeader.blocks(.blockDevice, entry, device: (major, minor)))
            case .namedPipe: try archive.append(TarHeader.blocks(.namedPipe, entry))
            // CRIU binds those that somebody has.
            case .socket: break
            case .regular:
                try archive.append(TarHeader.blocks(.regular, entry, size: entry.sizeBytes))
                try writeContents(of: entry, device: device, to: &archive, supply: &supply)
            }
        }
        try archive.append(TarHeader.end)
    }

    /// What no page holds is a hole.
    private static func writeContents<Supply: PageSupply & ~Copyable>(
        of entry: MemoryFilesystem.Entry, device: UInt64, to archive: inout StoredGzip, supply: inout Supply
    ) throws(CheckpointError) {
        var batches = BatchCursor(.deletedFile(device: device, inode: entry.inode))
        var position: UInt64 = 0
        while let runs = try batches.next(from: &supply) {
            for run in runs {
                for index in 0..<UInt64(run.count) {
                    let offset = run.address.rawValue &+ index &* UInt64(FrameNumber.size)
                    guard offset >= position, offset < entry.sizeBytes else { continue }
                    try writeZeros(offset - position, to: &archive)
                    let page = try supply.copy(FrameNumber(rawValue: run.frame.rawValue &+ index))
                    let length = min(UInt64(page.count), entry.sizeBytes - offset)
                    try archive.append(page.prefix(Int(length)))
                    position = offset + length
                }
            }
        }
        try writeZeros(entry.sizeBytes - position, to: &archive)
        try archive.append(Array(repeating: 0, count: TarHeader.padding(after: entry.sizeBytes)))
    }

    private static func writeZeros(_ count: UInt64, to archive: inout StoredGzip) throws(CheckpointError) {
        let page: [UInt8] = Array(repeating: 0, count: FrameNumber.size)
        var rest = count
        while rest > 0 {
            let length = min(rest, UInt64(page.count))
            try archive.append(page.prefix(Int(length)))
            rest -= length
        }
    }
}
