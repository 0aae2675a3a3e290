import KernelTypes

/// `struct ovl_inode` (fs/overlayfs/ovl_entry.h), a type of a module: a file of an overlay, and that of the layer which is written to.
struct OverlayInodeLayout: Sendable {
    let inode: Field
    /// `struct dentry *`, null while nothing was written.
    let upper: Field

    /// As fs/overlayfs/ovl_entry.h of Linux 5.10 has it, for a kernel that keeps no types of its modules.
    /// - Parameter inodeSize: of `struct inode`.
    init(ofLinux5_10 inodeSize: Int) {
        inode = Field(offset: 32, size: inodeSize)
        upper = Field(offset: 32 + inodeSize, size: 8)
    }

    init?(_ types: TypeTable) {
        guard let file = try? types.structure("ovl_inode"), let inode = file.optional("vfs_inode"),
            let upper = file.optional("__upperdentry")
        else { return nil }
        self.inode = inode
        self.upper = upper
    }
}
