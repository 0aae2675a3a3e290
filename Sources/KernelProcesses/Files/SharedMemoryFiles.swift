import GuestMemory
import KernelObjects
import KernelTypes
import ProcessModel

/// `struct shmem_inode_info` (include/linux/shmem_fs.h) and `struct hugetlbfs_inode_info` (include/linux/hugetlb.h).
struct SharedMemoryLayout: Sendable {
    let inode: Field
    let seals: Field
    /// nil for a kernel without huge pages of this kind.
    let hugePages: (inode: Field, seals: Field)?

    init(_ types: TypeTable) throws(KernelError) {
        let info = try types.structure("shmem_inode_info")
        inode = try info.field("vfs_inode")
        seals = try info.field("seals")
        let huge = try? types.structure("hugetlbfs_inode_info")
        if let inode = huge?.optional("vfs_inode"), let seals = huge?.optional("seals") {
            hugePages = (inode, seals)
        } else {
            hugePages = nil
        }
    }
}

extension FileReader {
    private static let memfdPrefix: [UInt8] = Array("memfd:".utf8)
    /// What shmem_zero_setup (mm/shmem.c) calls the memory of a shared anonymous mapping.
    private static let anonymousName: [UInt8] = Array("dev/zero".utf8)

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

    /// Whether it is the memory of a shared anonymous mapping.
    func isAnonymous(_ memory: SharedMemoryID) -> Bool { sharedMemory[memory]?.asMemfd != nil }

    /// Shared anonymous memory that somebody has a descriptor or a private mapping of (both through /proc/PID/map_files) becomes a memfd, as CRIU
    /// itself makes of it; all its mappings then have to be mappings of that memfd.
    mutating func makeMemfds(in spaces: inout [AddressSpaceID: AddressSpace]) {
        var named: Set<SharedMemoryID> = []
        var held = Set(descriptorTables.values.flatMap { $0.descriptors.map(\.file) })
        for file in openFiles.values {
            if case .unixSocket(let socket) = file.kind { held.formUnion(socket.receiveQueue.flatMap(\.files)) }
        }
        for space in spaces.values {
            for mapping in space.mappings { if case .memfd(let file, _) = mapping.kind { held.insert(file) } }
        }
        for id in held {
            if case .memfd(let memory) = openFiles[id]?.kind, isAnonymous(memory) { named.insert(memory) }
        }
        guard !named.isEmpty else { return }
        for memory in named {
            let attributes = sharedMemory[memory]?.asMemfd
            sharedMemory[memory]?.memfd = attributes
        }
        for id in spaces.keys {
            guard var space = spaces[id] else { continue }
            for index in space.mappings.indices {
                guard case .sharedAnonymous(let memory) = space.mappings[index].kind, named.contains(memory),
                    let file = anonymousFiles[memory]
                else { continue }
                space.mappings[index].kind = .memfd(file, isPrivate: false)
            }
            spaces[id] = space
        }
    }

    private func readSharedMemory(ofInode inode: VirtualAddress) throws(MemoryFault) -> SharedMemory {
        let fields = layout.inode
        let filesystem = try filesystem(ofInode: inode)
        var memory = SharedMemory(
            sizeBytes: try kernel.value(fields.size, of: inode), inode: try kernel.value(fields.number, of: inode),
            device: filesystem.device)
        let name = try internalName(of: inode)
        var (embedded, seals) = (layout.sharedMemory.inode, layout.sharedMemory.seals)
        if filesystem.typeName == "hugetlbfs" {
            guard let fields = layout.sharedMemory.hugePages else {
                throw MemoryFault(.damaged("hugetlbfs of a kernel that has none"), at: inode)
            }
            (embedded, seals) = fields
            memory.hugePageBytes = try kernel.value(layout.superblock.blockSize, of: filesystem.superblock)
            guard memory.hugePageBytes > 4096, memory.hugePageBytes.nonzeroBitCount == 1, memory.hugePageBytes <= 16 << 30
            else {
                throw MemoryFault(.damaged("huge pages of \(memory.hugePageBytes) bytes"), at: inode)
            }
        }
        let info = kernel.container(of: inode, embedded)
        let attributes = SharedMemory.Memfd(
            name: KernelString(bytes: name), uid: try kernel.uint32(fields.uid, of: inode),
            gid: try kernel.uint32(fields.gid, of: inode), mode: try kernel.uint32(fields.mode, of: inode),
            seals: try kernel.uint32(seals, of: info))
        if name.starts(with: Self.memfdPrefix) {
            memory.memfd = attributes
            memory.memfd?.name = KernelString(bytes: Array(name.dropFirst(Self.memfdPrefix.count)))
        } else if memory.hugePageBytes != 0 {
            // "anon_hugepage": CRIU makes a memfd of it.
            memory.memfd = attributes
        } else if name == Self.anonymousName {
            memory.asMemfd = attributes
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
