import GuestMemory
import KernelObjects
import KernelTypes
import ProcessModel
public struct FileLayout: Sendable { init(_ t: TypeTable) throws(KernelError) {} }
public struct FileReader {
    public var openFiles: [FileID: OpenFile] = [:]
    public var descriptorTables: [DescriptorTableID: DescriptorTable] = [:]
    public var filesystemContexts: [FilesystemContextID: FilesystemContext] = [:]
    public var pipes: [PipeID: Pipe] = [:]
    public var sharedMemory: [SharedMemoryID: SharedMemory] = [:]
    public var obstacles: [Obstacle] = []
    public var sharedMemoryMappings: [SharedMemoryID: VirtualAddress] = [:]
    public struct InodeIdentity: Hashable { var device: UInt64; var inode: UInt64 }
    public var deletedFileMappings: [InodeIdentity: VirtualAddress] = [:]
    public var gaps: [Gap] = []
    public static let symbols: Set<String> = []
    public init(kernel: KernelReader, layout: FileLayout, clocks: GuestClocks) {}
    public mutating func file(at: VirtualAddress) -> FileID { FileID(rawValue: 1) }
    public mutating func descriptorTable(at: VirtualAddress, pid: Int32) -> DescriptorTableID { DescriptorTableID(rawValue: 1) }
    public mutating func filesystemContext(at: VirtualAddress, pid: Int32) -> FilesystemContextID {
        FilesystemContextID(rawValue: 1)
    }
    public mutating func sharedMemory(ofInode: VirtualAddress) -> SharedMemoryID { SharedMemoryID(rawValue: 1) }
    public mutating func finish() {}
}
