import GuestMemory
import KernelObjects
import KernelTypes
import ProcessModel

/// `Node` of fs/binfmt_misc.c, which each file of a binfmt_misc has but for `register` and `status`.
struct BinaryFormatLayout: Sendable {
    let flags, offset, size, magic, mask, interpreter, name: Field
    let ofInode: Field
    /// `s_user_ns` of its filesystem.
    let owner: Field

    /// - Parameters:
    ///   - module: the types of the module, or of the kernel where it is built in; nil: the kernel keeps no types of modules.
    ///   - kernel: those of the kernel.
    init?(module: TypeTable?, kernel: TypeTable) {
        do throws(KernelError) {
            ofInode = try kernel.structure("inode").field("i_private")
            owner = try kernel.structure("super_block").field("s_user_ns")
            guard let module else {
                // As fs/binfmt_misc.c of Linux 5.10 has it.
                flags = Field(offset: 16, size: 8)
                offset = Field(offset: 24, size: 4)
                size = Field(offset: 28, size: 4)
                magic = Field(offset: 32, size: 8)
                mask = Field(offset: 40, size: 8)
                interpreter = Field(offset: 48, size: 8)
                name = Field(offset: 56, size: 8)
                return
            }
            let node = try module.structure(typedef: "Node")
            flags = try node.field("flags")
            offset = try node.field("offset")
            size = try node.field("size")
            magic = try node.field("magic")
            mask = try node.field("mask")
            interpreter = try node.field("interpreter")
            name = try node.field("name")
        } catch {
            return nil
        }
    }
}

extension GroupBuilder {
    /// What a format may say in all (MAX_REGISTER_LENGTH), and the most of them that are believed.
    private static let formatLimit = 1920
    private static let formatsLimit = 4096

    /// The formats of a binfmt_misc, and how many there are beyond those that could be read.
    func formats(below root: VirtualAddress, of superblock: VirtualAddress, _ guest: inout GuestMounts) throws(MemoryFault)
        -> (formats: [BinaryFormat], unknown: Int)
    {
        let paths = kernel.layout.files.paths
        let walk = FilesystemWalk(kernel: kernel.reader, layout: kernel.layout.files)
        let children = try walk.children(of: root)
        guest.steps += children.count
        guard children.count <= Self.formatsLimit else { throw MemoryFault(.damaged("too many formats"), at: root) }
        let hasTypes = kernel.reader.symbols.addresses["btf_modules"] != nil
        var layout = BinaryFormatLayout(
            module: hasTypes ? try kernel.moduleTypes("binfmt_misc") ?? kernel.manifest.types : nil,
            kernel: kernel.manifest.types)
        // Since Linux 6.7 (commit 21ca59b365c0) each user namespace may have formats of its own, which the agent does not register.
        if let owner = layout?.owner,
            try kernel.reader.pointer(owner, of: superblock).rawValue
                != kernel.reader.symbols.addresses["init_user_ns"]?.rawValue
        {
            layout = nil
        }
        var known: [BinaryFormat] = []
        var unknown = 0
        for child in children {
            let inode = try kernel.reader.pointer(paths.dentryInode, of: child)
            guard !inode.isNull, try !kernel.reader.isUnhashed(child, layout: paths) else { continue }
            let name = try kernel.reader.name(of: child, layout: paths)
            if name == Array("register".utf8) || name == Array("status".utf8) { continue }
            if let layout, let format = try format(ofInode: inode, name, layout) { known.append(format) } else { unknown += 1 }
        }
        return (known, unknown)
    }

    /// nil: it contradicts itself.
    private func format(ofInode inode: VirtualAddress, _ name: [UInt8], _ layout: BinaryFormatLayout) throws(MemoryFault)
        -> BinaryFormat?
    {
        let reader = kernel.reader
        let node = try reader.pointer(layout.ofInode, of: inode)
        guard !node.isNull else { return nil }
        func text(_ address: VirtualAddress) throws(MemoryFault) -> [UInt8] {
            try reader.memory.zeroTerminated(at: address, limit: Self.formatLimit)
        }
        guard try text(reader.pointer(layout.name, of: node)) == name else { return nil }
        let flags = try reader.value(layout.flags, of: node)
        let magic = try reader.pointer(layout.magic, of: node)
        let recognition: BinaryFormat.Recognition
        // The bit Magic, beside Enabled.
        if flags >> 1 & 1 == 0 {
            recognition = .fileExtension(try text(magic))
        } else {
            let size = try reader.value(layout.size, of: node)
            let offset = try reader.int32(layout.offset, of: node)
            // BINPRM_BUF_SIZE
            guard size > 0, size <= 256, 0...256 ~= offset else { return nil }
            let mask = try reader.pointer(layout.mask, of: node)
            recognition = .magic(
                try reader.memory.bytes(at: magic, count: Int(size)),
                mask: mask.isNull ? [] : try reader.memory.bytes(at: mask, count: Int(size)), offset: offset)
        }
        // MISC_FMT_*
        let letters: [(UInt64, Character)] = [(1 << 31, "P"), (1 << 30, "O"), (1 << 29, "C"), (1 << 28, "F")]
        return BinaryFormat(
            name: KernelString(bytes: name), recognition: recognition,
            interpreter: KernelString(bytes: try text(reader.pointer(layout.interpreter, of: node))),
            flags: String(letters.filter { flags & $0.0 != 0 }.map(\.1)), isEnabled: flags & 1 == 1)
    }
}
