import GuestMemory
import KernelObjects
import ProcessModel

extension FilesystemWalk {
    /// Where a symbolic link leads: a string of the kernel's (`i_link`), or the only page of the link's cache, as ext4 and tmpfs have it for long ones
    /// (page_get_link of fs/namei.c, shmem_symlink of mm/shmem.c; Linux 6.1).
    /// - Returns: nil: it is not in memory, or is longer than a path can be.
    func target(ofLink inode: VirtualAddress, frames: FrameTable) throws(MemoryFault) -> KernelString? {
        let size = try kernel.value(layout.inode.size, of: inode)
        // PATH_MAX, which is a page.
        guard size > 0, size < UInt64(FrameNumber.size) else { return nil }
        let text = try kernel.pointer(layout.inode.link, of: inode)
        if !text.isNull {
            return KernelString(bytes: Array(try kernel.memory.bytes(at: text, count: Int(size)).prefix { $0 != 0 }))
        }
        let mapping = try kernel.pointer(layout.inode.mapping, of: inode)
        guard let run = try? pages(ofMapping: mapping, isInMemory: true, .all, frames: frames).first, run.address.rawValue == 0,
            let bytes = try? kernel.bytes(at: run.frame.address, count: Int(size))
        else { return nil }
        return KernelString(bytes: Array(bytes.prefix { $0 != 0 }))
    }
}
