import GuestMemory
import KernelObjects
import KernelTypes
import ProcessModel

/// `struct ns_common` behind an inode of nsfs (fs/nsfs.c, include/linux/ns_common.h).
struct NamespaceFileLayout: Sendable {
    let inodeData: Field
    let number: Field
    /// CLONE_NEW*: in the namespace itself since 6.18, before it in its operations.
    let type: Field?
    let operations: Field
    let operationsType: Field?

    init?(_ types: TypeTable) {
        guard let inode = try? types.structure("inode"), let namespace = try? types.structure("ns_common"),
            let data = inode.optional("i_private"), let number = namespace.optional("inum"),
            let operations = namespace.optional("ops")
        else { return nil }
        inodeData = data
        self.number = number
        self.operations = operations
        type = namespace.optional("ns_type")
        operationsType = (try? types.structure("proc_ns_operations"))?.optional("type")
    }
}

extension FileReader {
    /// A file below /proc/N/ns, or a mount of one.
    func namespaceFile(ofInode inode: VirtualAddress) throws(MemoryFault) -> OpenFile.Kind {
        guard let fields = layout.namespaceFiles else { return .unsupported("namespace file") }
        let namespace = try kernel.pointer(fields.inodeData, of: inode)
        let flag: UInt32
        if let type = fields.type {
            flag = try kernel.uint32(type, of: namespace)
        } else if let type = fields.operationsType {
            flag = try kernel.uint32(type, of: kernel.pointer(fields.operations, of: namespace))
        } else {
            return .unsupported("namespace file")
        }
        guard let kind = NamespaceKind(rawValue: flag) else {
            throw MemoryFault(.damaged("namespace of the type 0x\(String(flag, radix: 16))"), at: namespace)
        }
        return .namespace(kind, number: try kernel.uint32(fields.number, of: namespace))
    }
}
