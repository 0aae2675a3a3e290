import GuestMemory
import KernelObjects
import KernelTypes
import ProcessModel

/// `struct shmem_inode_info` (include/linux/shmem_fs.h).
struct SharedMemoryLayout: Sendable {
    let inode: Field
    let seals: Field

    init(_ types: TypeTable) throws(KernelError) {
        let info = try types.structure("shmem_inode_info")
        inode = try info.field("vfs_inode")
        seals = try info.field("seals")
    }
}

extension FileReader {
    private static let memfdPrefix: [UInt8] = Array("memfd:".utf8)

    /// The shared memory behind a tmpfs inode: of a shared anonymous mapping or a memfd.
    public mutating func sharedMemory(ofInode inode: VirtualAddress) -> SharedMemoryID {
        if let known = sharedMemoryIDs[inode] { return known }
        let id = SharedMemoryID(rawValue: UInt32(truncatingIfNeeded: sharedMemoryIDs.count &+ 1))
        sharedMemoryIDs[inode] = id
        do throws(MemoryFault) {
            sharedMemoryMappings[id] = try kernel.pointer(layout.inode.mapping, of: inode)
            sharedMemory[id] = try readSharedMemory(ofInode: inode)
        } catch {
            gaps.append(Gap(object: "shared memory \(inode)", field: "struct inode", fault: error))
            obstacles.append(Obstacle(.refused, pid: nil, reason: "a shared memory area could not be read: \(error)"))
            sharedMemory[id] = SharedMemory(sizeBytes: 0, inode: 0, device: 0)
        }
        return id
    }

    private func readSharedMemory(ofInode inode: VirtualAddress) throws(MemoryFault) -> SharedMemory {
        let fields = layout.inode
        let filesystem = try filesystem(ofInode: inode)
        var memory = SharedMemory(
            sizeBytes: try kernel.value(fields.size, of: inode), inode: try kernel.value(fields.number, of: inode),
            device: filesystem.device)
        let name = try internalName(of: inode)
        if name.starts(with: Self.memfdPrefix) {
            let info = kernel.container(of: inode, layout.sharedMemory.inode)
            memory.memfd = SharedMemory.Memfd(
                name: KernelString(bytes: Array(name.dropFirst(Self.memfdPrefix.count))),
                uid: try kernel.uint32(fields.uid, of: inode), gid: try kernel.uint32(fields.gid, of: inode),
                mode: try kernel.uint32(fields.mode, of: inode), seals: try kernel.uint32(layout.sharedMemory.seals, of: info))
        }
        return memory
    }

    /// The name that the kernel gave an inode of its own tmpfs: "memfd:NAME", "dev/zero", "SYSV00000000".
    private func internalName(of inode: VirtualAddress) throws(MemoryFault) -> [UInt8] {
        var dentry: VirtualAddress?
        let fault = kernel.forEach(onHashList: inode + layout.inode.aliases.offset, link: layout.inode.aliasLink, limit: 16) {
            if dentry == nil { dentry = $0 }
        }
        if let fault { throw fault }
        guard let dentry else { return [] }
        return try kernel.name(of: dentry, layout: layout.paths)
    }
}
