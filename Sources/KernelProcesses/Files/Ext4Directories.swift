import GuestMemory
import KernelObjects
import KernelTypes

/// `struct ext4_inode_info` (fs/ext4/ext4.h), `struct buffer_head` (include/linux/buffer_head.h), and where the cache of a disk is.
struct Ext4Layout: Sendable {
    let inode: Field
    let data: Field
    let flags: Field
    let bufferState: Field
    let pagePrivate: Field
    /// `bd_mapping`, where there is one; older kernels (6.1 and 5.10 have it) have `bd_inode`, whose mapping it is.
    let diskMapping: Field?
    let diskInode: Field?

    /// - Parameter types: of the module ext4.
    /// - Returns: nil for types that lack one of these.
    init?(_ types: TypeTable) {
        guard let info = try? types.structure("ext4_inode_info"), let inode = info.optional("vfs_inode"),
            let data = info.optional("i_data"), let flags = info.optional("i_flags"),
            let bufferState = (try? types.structure("buffer_head"))?.optional("b_state"),
            let pagePrivate = (try? types.structure("page"))?.optional("private"),
            let disk = try? types.structure("block_device")
        else { return nil }
        (self.inode, self.data, self.flags) = (inode, data, flags)
        (self.bufferState, self.pagePrivate) = (bufferState, pagePrivate)
        diskMapping = disk.optional("bd_mapping")
        diskInode = disk.optional("bd_inode")
        guard diskMapping != nil || diskInode != nil else { return nil }
    }
}

/// The names in directories of an ext4 filesystem, as the blocks of the directories in the dead kernel's cache have them: the kernel changes them
/// there, and the disk learns of it when the journal is written.
///
/// Which names there are the kernel's own cache of names does not tell: it forgets a name that was renamed.
struct Ext4Directories {
    let kernel: KernelReader
    let files: FileLayout
    let layout: Ext4Layout
    private let frames: FrameTable
    /// The pages of the disk's cache, by their place on the disk.
    private let cache: VirtualAddress

    /// What must be so: the blocks are as large as pages, as those of all but small filesystems are.
    private static let blockSize = UInt64(FrameNumber.size)
    /// Longer directories are left out.
    private static let blockLimit = 256

    /// - Returns: nil for a filesystem with other blocks.
    init?(superblock: VirtualAddress, kernel: KernelReader, files: FileLayout, layout: Ext4Layout) throws(MemoryFault) {
        guard try kernel.value(files.superblock.blockSize, of: superblock) == Self.blockSize else { return nil }
        self.kernel = kernel
        self.files = files
        self.layout = layout
        frames = FrameTable(kernel: kernel, layout: files.pages)
        let disk = try kernel.pointer(files.superblock.blockDevice, of: superblock)
        let mapping: VirtualAddress
        if let field = layout.diskMapping {
            mapping = try kernel.pointer(field, of: disk)
        } else if let field = layout.diskInode {
            mapping = try kernel.pointer(files.inode.mapping, of: kernel.pointer(field, of: disk))
        } else {
            return nil
        }
        cache = mapping + files.pages.pages.offset
    }

    /// The page that has a block of the disk, as far as it is one by itself.
    private func page(ofBlock block: UInt64) throws(MemoryFault) -> VirtualAddress? {
        guard let entry = try kernel.entry(at: block, inXArray: cache, layout: files.xarray), entry & 1 == 0 else { return nil }
        let page = VirtualAddress(entry)
        return try kernel.order(ofFolio: page, layout: files.pages) == 0 ? page : nil
    }

    /// EXT4_ENCRYPT_FL, EXT4_EXTENTS_FL, EXT4_INLINE_DATA_FL and EXT4_CASEFOLD_FL (fs/ext4/ext4.h).
    private static let encrypted: UInt64 = 0x800
    private static let extents: UInt64 = 0x8_0000
    private static let inline: UInt64 = 0x1000_0000
    private static let folded: UInt64 = 0x4000_0000

    /// All names in a directory but `.` and `..`.
    /// - Returns: nil when not all of its blocks are in memory, or they are of a form that is not read.
    func names(ofDirectory inode: VirtualAddress) throws(MemoryFault) -> [[UInt8]]? {
        let info = kernel.container(of: inode, layout.inode)
        let flags = try kernel.value(layout.flags, of: info)
        guard flags & Self.extents != 0, flags & (Self.encrypted | Self.inline | Self.folded) == 0 else { return nil }
        let size = try kernel.value(files.inode.size, of: inode)
        guard size > 0, size % Self.blockSize == 0, size / Self.blockSize <= UInt64(Self.blockLimit),
            let blocks = Self.blocks(inTree: try kernel.memory.bytes(at: info + layout.data.offset, count: 60)),
            blocks.count == Int(size / Self.blockSize)
        else { return nil }
        var names: [[UInt8]] = []
        for block in blocks {
            guard let page = try page(ofBlock: block), try isValid(page),
                let found = Self.names(
                    inBlock: try kernel.bytes(ofPage: page, offset: 0, count: FrameNumber.size, frames: frames))
            else { return nil }
            names += found
        }
        return names
    }

    /// BH_Uptodate, of the only buffer of the page.
    private func isValid(_ page: VirtualAddress) throws(MemoryFault) -> Bool {
        let buffer = try kernel.pointer(layout.pagePrivate, of: page)
        guard buffer.isKernel else { return false }
        return try kernel.value(layout.bufferState, of: buffer) & 1 == 1
    }

    /// The blocks that the root of an extent tree names, in their order (`struct ext4_extent_header` and `ext4_extent`, fs/ext4/ext4_extents.h).
    /// - Returns: nil when there is another level below it, or a gap.
    static func blocks(inTree bytes: [UInt8]) -> [UInt64]? {
        func number(_ offset: Int, _ size: Int) -> UInt64 {
            bytes[offset..<offset + size].reversed().reduce(0) { $0 << 8 | UInt64($1) }
        }
        // 12 bytes of header, then four extents of 12.
        guard bytes.count == 60, number(0, 2) == 0xf30a, number(2, 2) <= 4, number(6, 2) == 0 else { return nil }
        var blocks: [UInt64] = []
        for index in 0..<Int(number(2, 2)) {
            let at = 12 + index * 12
            let length = number(at + 4, 2)
            // Longer ones are not written yet, which those of directories never are.
            guard number(at, 4) == UInt64(blocks.count), length > 0, length <= UInt64(blockLimit) else { return nil }
            let start = number(at + 6, 2) << 32 | number(at + 8, 4)
            blocks += (0..<length).map { start + $0 }
        }
        return blocks
    }

    /// The names in a block of a directory (`struct ext4_dir_entry_2`); an index of a large directory looks like a block without names, and what
    /// a checksum has is one.
    /// - Returns: nil when the block is none of a directory.
    static func names(inBlock bytes: [UInt8]) -> [[UInt8]]? {
        var names: [[UInt8]] = []
        var at = 0
        while at < bytes.count {
            guard at + 8 <= bytes.count else { return nil }
            let length = Int(bytes[at + 4]) | Int(bytes[at + 5]) << 8
            let nameLength = Int(bytes[at + 6])
            guard length >= 8, length % 4 == 0, at + length <= bytes.count, nameLength + 8 <= length else { return nil }
            let name = Array(bytes[at + 8..<at + 8 + nameLength])
            if bytes[at..<at + 4].contains(where: { $0 != 0 }), !name.isEmpty, name != [0x2e], name != [0x2e, 0x2e] {
                guard !name.contains(0), !name.contains(0x2f) else { return nil }
                names.append(name)
            }
            at += length
        }
        return names
    }
}
