import GuestMemory
import KernelObjects
import ProcessModel

extension DeadKernel {
    /// By what a file is known beyond its names.
    func identity(ofInode inode: VirtualAddress) throws(MemoryFault) -> InodeIdentity {
        let superblock = try reader.pointer(layout.files.inode.superblock, of: inode)
        return InodeIdentity(
            device: try reader.value(layout.files.superblock.device, of: superblock),
            inode: try reader.value(layout.files.inode.number, of: inode))
    }
}
