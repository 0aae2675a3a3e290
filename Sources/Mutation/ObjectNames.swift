import GuestMemory
import KernelObjects
import KernelTypes

/// What a kernel address belongs to, as far as the kernel tells: the slab that it lies in names the type, and BTF the field.
public struct ObjectNames {
    /// A place in words.
    public struct Place: Hashable, Sendable {
        /// The structure, the slab, or the part of memory.
        public var object: String
        /// The field, or an offset.
        public var field: String

        public init(object: String, field: String) {
            self.object = object
            self.field = field
        }
    }

    private let reader: KernelReader
    private let types: TypeTable
    private let pageSize: Int
    private let pageFlags, compoundHead, cacheOfSlab, cacheName, cacheSize: Field
    private let slabFlag: Int64
    private let symbols: [(address: UInt64, name: String)]
    private let registersSize: Int

    /// The types of the objects in the kernel's named slabs.
    private static let typesOfSlabs = [
        "task_struct": "task_struct", "mm_struct": "mm_struct", "vm_area_struct": "vm_area_struct",
        "files_cache": "files_struct",
        "fs_cache": "fs_struct", "signal_cache": "signal_struct", "sighand_cache": "sighand_struct", "cred_jar": "cred",
        "filp": "file", "dentry": "dentry", "pid": "pid", "maple_node": "maple_node", "radix_tree_node": "xa_node",
        "sigqueue": "sigqueue", "posix_timers_cache": "k_itimer", "eventpoll_epi": "epitem",
        "sock_inode_cache": "socket_alloc", "TCP": "tcp_sock", "TCPv6": "tcp6_sock", "UDP": "udp_sock", "UDPv6": "udp6_sock",
        "UNIX": "unix_sock", "skbuff_head_cache": "sk_buff", "ext4_inode_cache": "ext4_inode_info",
        "shmem_inode_cache": "shmem_inode_info", "inode_cache": "inode", "proc_inode_cache": "proc_inode",
        "nsproxy": "nsproxy", "mnt_cache": "mount", "kernfs_node_cache": "kernfs_node", "file_lock_cache": "file_lock",
        "inotify_inode_mark": "inotify_inode_mark",
    ]
    private static let stackSize: UInt64 = 16_384
    private static let imageMap: UInt64 = 0xffff_ffff_8000_0000

    /// - Throws: where the kernel does not tell of its slabs (`struct slab` since 5.17).
    public init(reader: KernelReader, types: TypeTable) throws(KernelError) {
        self.reader = reader
        self.types = types
        let page = try types.structure("page")
        pageSize = page.size
        pageFlags = try page.field("flags")
        compoundHead = try page.field("compound_head")
        cacheOfSlab = try types.structure("slab").field("slab_cache")
        let cache = try types.structure("kmem_cache")
        cacheName = try cache.field("name")
        cacheSize = try cache.field("size")
        slabFlag = types.enumerator("PG_slab") ?? -1
        symbols = reader.symbols.addresses.map { ($0.value.rawValue, $0.key) }.sorted { $0.address < $1.address }
        registersSize = try types.structure("pt_regs").size
    }

    public func place(of piece: ReadPiece) -> Place {
        if piece.virtual.isNull { return Place(object: "page table", field: "entry") }
        let address = piece.virtual.rawValue
        if let map = try? reader.variable("vmemmap_base"), address >= map, address - map < 1 << 40 {
            return member(of: "page", at: Int((address - map) % UInt64(pageSize)))
        }
        if address >= Self.imageMap { return variable(at: address) }
        guard let base = try? reader.variable("page_offset_base"), address >= base,
            address - base == piece.physical.rawValue
        else {
            let inStack = Int(address % Self.stackSize)
            let registers = Int(Self.stackSize) - registersSize
            guard inStack >= registers else { return Place(object: "kernel stack", field: "frames") }
            return member(of: "pt_regs", at: inStack - registers)
        }
        return (try? slabObject(at: piece)) ?? Place(object: "pages", field: "word")
    }

    private func variable(at address: UInt64) -> Place {
        guard let symbol = symbols.last(where: { $0.address <= address }), address - symbol.address < 1 << 16 else {
            return Place(object: "kernel image", field: "data")
        }
        if symbol.name == "init_task" { return member(of: "task_struct", at: Int(address - symbol.address)) }
        return Place(object: "kernel image", field: symbol.name)
    }

    private func slabObject(at piece: ReadPiece) throws(MemoryFault) -> Place {
        guard let map = try reader.variable("vmemmap_base"), slabFlag >= 0, slabFlag < 64 else {
            return Place(object: "pages", field: "word")
        }
        var page = VirtualAddress(map &+ piece.physical.frame.rawValue &* UInt64(pageSize))
        let head = try reader.value(compoundHead, of: page)
        if head & 1 == 1 { page = VirtualAddress(head - 1) }
        guard try reader.value(pageFlags, of: page) >> UInt64(slabFlag) & 1 == 1 else {
            return Place(object: "pages", field: "word")
        }
        let cache = try reader.pointer(cacheOfSlab, of: page)
        let name = try reader.memory.string(at: reader.pointer(cacheName, of: cache), limit: 64)
        let size = Int(try reader.uint32(cacheSize, of: cache))
        let start = (page.rawValue &- map) / UInt64(pageSize) &* 4096
        guard size > 0, piece.physical.rawValue >= start else { return Place(object: name, field: "word") }
        let offset = Int(piece.physical.rawValue - start) % size
        guard let type = Self.typesOfSlabs[name] else {
            return Place(object: name, field: "0x" + String(offset & ~7, radix: 16))
        }
        return member(of: type, at: offset)
    }

    private func member(of type: String, at offset: Int) -> Place {
        guard let structure = try? types.structure(type), let path = types.memberPath(in: structure, at: offset) else {
            return Place(object: type, field: "0x" + String(offset & ~7, radix: 16))
        }
        // Elements of an array are one field in a report.
        let plain = path.replacing(/\[[0-9]+\]/, with: "[]")
        return Place(object: type, field: String(plain))
    }
}
