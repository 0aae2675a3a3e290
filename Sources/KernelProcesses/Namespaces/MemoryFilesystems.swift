import GuestMemory
import KernelObjects
import ProcessModel

extension GroupBuilder {
    /// The most names in a tmpfs that are believed.
    private static let nameLimit = 1 << 18
    private static let depthLimit = 256

    /// Reads what is in a tmpfs. The kernel forgets none of its names, for they are nowhere but in memory (`simple_dentry_operations`, and the reference
    /// that shmem_mknod takes, mm/shmem.c).
    mutating func memoryFilesystem(at superblock: VirtualAddress, device: UInt64, _ layout: MountLayout) throws(MemoryFault)
        -> MemoryFilesystem
    {
        let fields = kernel.layout.files
        let walk = FilesystemWalk(kernel: kernel.reader, layout: fields)
        let frames = FrameTable(kernel: kernel.reader, layout: fields.pages)
        var result = MemoryFilesystem(entries: [])
        var waiting: [(dentry: VirtualAddress, path: [UInt8], depth: Int)] = [
            (try kernel.reader.pointer(fields.superblock.root, of: superblock), [], 0)
        ]
        while let (dentry, path, depth) = waiting.popLast() {
            let inode = try kernel.reader.pointer(fields.paths.dentryInode, of: dentry)
            let entry = try entry(at: inode, path: path, layout, walk, frames)
            result.entries.append(entry)
            if entry.kind == .regular {
                let identity = InodeIdentity(device: device, inode: entry.inode)
                files.deletedFileMappings[identity] = try kernel.reader.pointer(fields.inode.mapping, of: inode)
            }
            guard entry.kind == .directory else { continue }
            guard depth < Self.depthLimit else { throw MemoryFault(.damaged("directories too deep"), at: dentry) }
            for child in try walk.children(of: dentry) {
                // A place of somebody who lists the directory has neither name nor inode.
                guard try !kernel.reader.pointer(fields.paths.dentryInode, of: child).isNull,
                    try !kernel.reader.isUnhashed(child, layout: fields.paths)
                else { continue }
                let name = try kernel.reader.name(of: child, layout: fields.paths)
                guard result.entries.count + waiting.count < Self.nameLimit, !name.isEmpty,
                    !name.contains(UInt8(ascii: "/")), name != Array(".".utf8), name != Array("..".utf8)
                else { throw MemoryFault(.damaged("names in a tmpfs"), at: child) }
                waiting.append((child, path.isEmpty ? name : path + [UInt8(ascii: "/")] + name, depth + 1))
            }
        }
        return result
    }

    private func entry(
        at inode: VirtualAddress, path: [UInt8], _ layout: MountLayout, _ walk: FilesystemWalk, _ frames: FrameTable
    ) throws(MemoryFault) -> MemoryFilesystem.Entry {
        let reader = kernel.reader
        let fields = kernel.layout.files.inode
        let mode = try reader.uint32(fields.mode, of: inode)
        let device = try reader.value(fields.device, of: inode)
        let major = UInt32(truncatingIfNeeded: device >> 20)
        let minor = UInt32(device & 0xfffff)
        let kind: MemoryFilesystem.Entry.Kind
        switch mode & 0o170000 {
        case 0o040000: kind = .directory
        case 0o100000: kind = .regular
        case 0o120000:
            guard let target = try walk.target(ofLink: inode, frames: frames) else {
                throw MemoryFault(.damaged("symbolic link whose target is not in memory"), at: inode)
            }
            kind = .symbolicLink(target: target)
        case 0o020000: kind = .characterDevice(major: major, minor: minor)
        case 0o060000: kind = .blockDevice(major: major, minor: minor)
        case 0o010000: kind = .namedPipe
        case 0o140000: kind = .socket
        default: throw MemoryFault(.damaged("inode of mode 0\(String(mode, radix: 8))"), at: inode)
        }
        return MemoryFilesystem.Entry(
            path: KernelString(bytes: path), kind: kind, inode: try reader.value(fields.number, of: inode), mode: mode & 0o7777,
            uid: try reader.uint32(fields.uid, of: inode), gid: try reader.uint32(fields.gid, of: inode),
            sizeBytes: try reader.value(fields.size, of: inode),
            modifiedSeconds: try reader.signed(fields.modifiedSeconds, of: inode),
            hasAttributes: try hasAttributes(inode, layout))
    }

    private func hasAttributes(_ inode: VirtualAddress, _ layout: MountLayout) throws(MemoryFault) -> Bool {
        guard let field = layout.attributes else { return false }
        let head = kernel.reader.container(of: inode, kernel.layout.files.sharedMemory.inode) + field.offset
        let first = try kernel.reader.memory.pointer(at: head)
        return layout.attributesAreTree ? !first.isNull : first != head && !first.isNull
    }
}
