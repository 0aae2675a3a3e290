import KernelObjects
import KernelTypes

/// What the walk over changed files needs beyond `FileLayout`: directories, mounts, pages and their states.
struct CatchUpLayout: Sendable {
    /// The children of a directory, on a hash list since Linux 6.8 (commit da549bdd15c2), on a list before.
    let children: Field
    let childLink: Field
    let childrenAreHashList: Bool
    /// DCACHE_MOUNTED in `d_flags`: a macro until 6.13 (include/linux/dcache.h), an enumerator since.
    let mountedBit: UInt32
    let writerCount: Field
    /// The mounts of a superblock: a list, or since Linux 6.18 the first of a chain.
    let mountLink: Field
    let mountsAreChain: Bool
    let mountNamespace: Field
    let mountEmbedded: Field
    let mountRoot: Field
    let mountChildren, mountChildLink, mountPoint: Field
    let mountID: Field
    let initialMountNamespace: Field
    let dirtyBit: UInt64
    let writebackBit: UInt64

    init(_ types: TypeTable) throws(KernelError) {
        let dentry = try types.structure("dentry")
        if let hashed = dentry.optional("d_children") {
            children = hashed
            childLink = try dentry.field("d_sib")
            childrenAreHashList = true
        } else {
            children = try dentry.field("d_subdirs")
            childLink = try dentry.field(anyOf: "d_child", "d_u.d_child")
            childrenAreHashList = false
        }
        mountedBit = UInt32(truncatingIfNeeded: types.enumerator("DCACHE_MOUNTED") ?? 1 << 16)
        writerCount = try types.structure("inode").field("i_writecount")
        let mount = try types.structure("mount")
        if let chained = mount.optional("mnt_next_for_sb") {
            mountLink = chained
            mountsAreChain = true
        } else {
            mountLink = try mount.field("mnt_instance")
            mountsAreChain = false
        }
        mountNamespace = try mount.field("mnt_ns")
        mountEmbedded = try mount.field("mnt")
        mountRoot = try mount.field("mnt.mnt_root")
        mountChildren = try mount.field("mnt_mounts")
        mountChildLink = try mount.field("mnt_child")
        mountPoint = try mount.field("mnt_mountpoint")
        mountID = try mount.field("mnt_id")
        initialMountNamespace = try types.structure("nsproxy").field("mnt_ns")
        guard let dirty = types.enumerator("PG_dirty"), let writeback = types.enumerator("PG_writeback"), 0..<64 ~= dirty,
            0..<64 ~= writeback
        else { throw .noField(type: "pageflags", field: "PG_dirty or PG_writeback") }
        dirtyBit = UInt64(dirty)
        writebackBit = UInt64(writeback)
    }
}
