import GuestMemory
import KernelObjects
import ProcessModel

/// Reads open files out of a dead kernel, each `struct file` once, and numbers what processes share.
///
/// One reader serves one group, so that at the end `finish()` knows what is held outside the group. Reading never fails as a whole: what cannot be
/// read becomes a gap and, where a process depends on it, a file of an unsupported kind or an obstacle.
public struct FileReader {
    let kernel: KernelReader
    let layout: FileLayout
    let clocks: GuestClocks
    let operations: FileOperations
    let frames: FrameTable
    /// nil: the kernel has no overlays.
    let overlays: OverlayInodeLayout?
    /// nil: the kernel has no packet sockets, or does not tell of them.
    let packets: PacketSocketLayout?
    /// nil: the kernel has no tunnels of programs, or does not tell of them.
    let tunnels: TunnelFileLayout?
    /// That of the guest's init process; nil: not known.
    let guestMountNamespace: VirtualAddress?

    public internal(set) var openFiles: [FileID: OpenFile] = [:]
    public internal(set) var descriptorTables: [DescriptorTableID: DescriptorTable] = [:]
    public internal(set) var filesystemContexts: [FilesystemContextID: FilesystemContext] = [:]
    public internal(set) var pipes: [PipeID: Pipe] = [:]
    public internal(set) var terminals: [TerminalID: Terminal] = [:]
    public internal(set) var sharedMemory: [SharedMemoryID: SharedMemory] = [:]
    /// Locks on files that the group's processes hold.
    public internal(set) var fileLocks: [FileLock] = []
    /// The `struct address_space` whose pages are a shared memory's contents.
    public internal(set) var sharedMemoryMappings: [SharedMemoryID: VirtualAddress] = [:]
    /// The `struct address_space` of each file whose name was removed.
    public internal(set) var deletedFileMappings: [InodeIdentity: VirtualAddress] = [:]
    public internal(set) var gaps: [Gap] = []
    public internal(set) var obstacles: [Obstacle] = []

    var fileIDs: [VirtualAddress: FileID] = [:]
    var tableIDs: [VirtualAddress: DescriptorTableID] = [:]
    var contextIDs: [VirtualAddress: FilesystemContextID] = [:]
    var pipeIDs: [VirtualAddress: PipeID] = [:]
    var terminalIDs: [VirtualAddress: TerminalID] = [:]
    var sharedMemoryIDs: [VirtualAddress: SharedMemoryID] = [:]
    /// Processes by the table of descriptors that they use.
    var tableHolders: [DescriptorTableID: [Int32]] = [:]
    var epollTargets: [FileID: [PendingEpollTarget]] = [:]
    var sockets: [VirtualAddress: FileID] = [:]
    /// The other ends of unix sockets, as `struct sock *`.
    var unixPeers: [FileID: VirtualAddress] = [:]
    /// Connections that wait on a listening unix socket, by the new `struct sock`.
    var waitingConnections: [VirtualAddress: WaitingConnection] = [:]
    /// Files that travel through unix sockets, not yet read.
    var filesInFlight: [VirtualAddress] = []
    /// The file that maps a shared anonymous memory.
    var anonymousFiles: [SharedMemoryID: FileID] = [:]
    /// How often each `struct file` is held by descriptors and areas of the group.
    var references: [VirtualAddress: Int] = [:]
    /// Inodes of files in filesystems.
    var inodes: [FileID: VirtualAddress] = [:]
    /// What waits in a POSIX message queue (`struct mqueue_inode_info`), which any number of files may have open.
    var queuedMessages: [VirtualAddress: [PosixQueue.Message]] = [:]
    var ipcBudget = IPCBudget()

    struct WaitingConnection {
        var listener: FileID
        /// What its client has already sent.
        var sent: [UnixSocket.Message]
    }

    /// The symbols that the reader asks for; missing ones only make files of their kind unsupported.
    public static let symbols: Set<String> = FileOperations.symbols.union([
        "vmemmap_base", "tick_nsec", "tk_ntp_data", "super_blocks", "dirty_expire_interval", "dirty_writeback_interval",
        "packet_direct_xmit",
    ])

    /// - Parameters:
    ///   - clocks: of the guest at the crash; what timers have left is counted from there.
    ///   - overlays: of the module, where it is loaded.
    ///   - packets: of the module too, as are tunnels.
    init(
        kernel: KernelReader, layout: FileLayout, clocks: GuestClocks, overlays: OverlayInodeLayout?,
        packets: PacketSocketLayout?, tunnels: TunnelFileLayout?
    ) {
        self.kernel = kernel
        self.layout = layout
        self.clocks = clocks
        self.overlays = overlays
        self.packets = packets
        self.tunnels = tunnels
        operations = FileOperations(symbols: kernel.symbols)
        frames = FrameTable(kernel: kernel, layout: layout.pages)
        guestMountNamespace = kernel.symbols.addresses["init_nsproxy"].flatMap {
            try? kernel.pointer(layout.catchUp.initialMountNamespace, of: $0)
        }
    }

    /// The open file description at `address` (`struct file *`).
    public mutating func file(at address: VirtualAddress) -> FileID {
        let id = number(ofFileAt: address)
        // A file that was met in a message has a number and is not yet read.
        if openFiles[id] != nil { return id }
        do throws(MemoryFault) {
            openFiles[id] = try readFile(at: address, id: id)
        } catch {
            gaps.append(Gap(object: "open file \(address)", field: "struct file", fault: error))
            openFiles[id] = OpenFile(kind: .unsupported("file that could not be read: \(error)"), flags: 0)
        }
        return id
    }

    private mutating func number(ofFileAt address: VirtualAddress) -> FileID {
        if let known = fileIDs[address] { return known }
        let id = FileID(rawValue: UInt32(truncatingIfNeeded: fileIDs.count &+ 1))
        fileIDs[address] = id
        return id
    }

    /// A file in a message of a unix socket. Sockets can travel through sockets, so it is read later, by `readFilesInFlight`, and not from here.
    mutating func fileInFlight(at address: VirtualAddress) -> FileID {
        filesInFlight.append(address)
        return number(ofFileAt: address)
    }

    /// Records what could not be read of `object`, and goes on.
    mutating func note(_ fault: MemoryFault?, object: String, field: String) {
        if let fault { gaps.append(Gap(object: object, field: field, fault: fault)) }
    }
}
