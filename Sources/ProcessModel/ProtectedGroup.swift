import GuestMemory

/// The processes of one cgroup (v2) of the dead guest, with everything that they share. The unit that is saved and restored.
///
/// Tables are keyed by the identifiers that processes hold; a process may only name what is in them. The checkpoint room checks that,
/// for a model is only as sound as the dead memory it was read from.
public struct ProtectedGroup: Sendable {
    /// Last component of the cgroup's path, as given to `xenpr-agent run --group`.
    public var name: String
    /// Path in the unified hierarchy, for instance `/xenpr/counter`.
    public var cgroupPath: KernelString
    /// Thread groups, parents before their children where that is possible.
    public var processes: [DeadProcess]
    public var openFiles: [FileID: OpenFile]
    public var descriptorTables: [DescriptorTableID: DescriptorTable]
    public var filesystemContexts: [FilesystemContextID: FilesystemContext]
    public var addressSpaces: [AddressSpaceID: AddressSpace]
    public var signalActions: [SignalActionsID: SignalActions]
    public var sharedMemory: [SharedMemoryID: SharedMemory]
    public var pipes: [PipeID: Pipe]
    /// Those that its processes have open or are controlled by.
    public var terminals: [TerminalID: Terminal]
    /// Locks on files that its processes hold.
    public var fileLocks: [FileLock]
    /// Clocks of the guest at the crash.
    public var clocks: GuestClocks
    /// The namespaces of the guest's init process. A process whose namespaces differ from these is in a container.
    public var initNamespaces: Namespaces
    /// The namespaces of its processes that are not those of the guest's init process, by inode number.
    public var utsNamespaces: [UInt32: UTSNamespace]
    public var ipcNamespaces: [UInt32: IPCNamespace]
    public var timeNamespaces: [UInt32: TimeNamespace]
    public var networkNamespaces: [UInt32: NetworkNamespace]
    public var mountNamespaces: [UInt32: MountNamespace]
    public var userNamespaces: [UInt32: UserNamespace]
    /// The user namespace that each of its other namespaces belongs to, by inode numbers.
    public var namespaceOwners: [UInt32: UInt32]
    /// Its own cgroup and those below it, each after the one it lies in.
    public var cgroups: [ControlGroup]
    /// The cgroups that are the roots of cgroup namespaces.
    public var cgroupNamespaces: [UInt32: KernelString]
    /// The numbers that ids of the guest's initial pid namespace have in other ones, the innermost last; for processes, threads, process groups and sessions
    /// of this group that have any.
    public var namespacePIDs: [Int32: [NamespacePID]]
    /// What the reader of the dead kernel already knows cannot come back.
    public var obstacles: [Obstacle]

    public init(name: String, cgroupPath: KernelString, clocks: GuestClocks, initNamespaces: Namespaces) {
        self.name = name
        self.cgroupPath = cgroupPath
        self.processes = []
        self.openFiles = [:]
        self.descriptorTables = [:]
        self.filesystemContexts = [:]
        self.addressSpaces = [:]
        self.signalActions = [:]
        self.sharedMemory = [:]
        self.pipes = [:]
        self.terminals = [:]
        self.fileLocks = []
        self.clocks = clocks
        self.initNamespaces = initNamespaces
        self.utsNamespaces = [:]
        self.ipcNamespaces = [:]
        self.timeNamespaces = [:]
        self.networkNamespaces = [:]
        self.mountNamespaces = [:]
        self.userNamespaces = [:]
        self.namespaceOwners = [:]
        self.cgroups = []
        self.cgroupNamespaces = [:]
        self.namespacePIDs = [:]
        self.obstacles = []
    }
}

/// The guest's clocks at the crash (`tk_core.timekeeper`), in nanoseconds.
public struct GuestClocks: Sendable, Hashable {
    public var monotonicNanoseconds: UInt64
    public var boottimeNanoseconds: UInt64
    /// Since the epoch.
    public var realtimeNanoseconds: UInt64

    public init(monotonicNanoseconds: UInt64, boottimeNanoseconds: UInt64, realtimeNanoseconds: UInt64) {
        self.monotonicNanoseconds = monotonicNanoseconds
        self.boottimeNanoseconds = boottimeNanoseconds
        self.realtimeNanoseconds = realtimeNanoseconds
    }
}
