import KernelTypes

/// `struct ovl_inode` (fs/overlayfs/ovl_entry.h), a type of a module: a file of an overlay, and that of the layer which is written to.
struct OverlayInodeLayout: Sendable {
    let inode: Field
    /// `struct dentry *`, null while nothing was written.
    let upper: Field

    init?(_ types: TypeTable) {
        guard let file = try? types.structure("ovl_inode"), let inode = file.optional("vfs_inode"),
            let upper = file.optional("__upperdentry")
        else { return nil }
        self.inode = inode
        self.upper = upper
    }
}
