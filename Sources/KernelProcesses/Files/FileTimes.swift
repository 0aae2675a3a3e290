import GuestMemory
import KernelObjects
import ProcessModel

extension KernelReader {
    /// When an inode was last written to.
    func modified(_ inode: VirtualAddress, _ fields: InodeLayout) throws(MemoryFault) -> FileTime {
        FileTime(
            seconds: try signed(fields.modifiedSeconds, of: inode),
            nanoseconds: try value(fields.modifiedNanoseconds, of: inode))
    }

    /// When an inode was last read.
    func accessed(_ inode: VirtualAddress, _ fields: InodeLayout) throws(MemoryFault) -> FileTime {
        FileTime(
            seconds: try signed(fields.accessedSeconds, of: inode),
            nanoseconds: try value(fields.accessedNanoseconds, of: inode))
    }
}
