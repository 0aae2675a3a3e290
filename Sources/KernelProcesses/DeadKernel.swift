import Decompression
import GuestMemory
import KernelObjects
import KernelTypes
import ProcessModel

/// Where everything lies in this kernel, resolved once.
public struct KernelLayout: Sendable {
    let task: TaskLayout
    let taskChecks: TaskChecksLayout
    let memoryChecks: MemoryChecksLayout
    let signal: SignalLayout
    let cgroup: CgroupLayout
    let credentials: CredentialsLayout
    /// nil for a kernel without keys.
    let keyrings: KeyringLayout?
    let portPermissions: PortPermissionLayout
    let schedulingRequests: SchedulingRequestLayout
    let namespaces: NamespaceLayout
    let ipc: IPCLayout?
    let network: NetworkNamespaceLayout?
    let users: UserNamespaceLayout?
    let mounts: MountLayout?
    let registers: RegisterLayout
    /// nil for a kernel in which it is not known how far a read or write has come.
    let transfers: TransferLayout?
    /// `pcpu_hot.hardirq_stack_ptr`.
    let interruptStack: Field?
    /// nil for a kernel whose stacks cannot be unwound.
    let unwinding: UnwindLayout?
    let floatingPoint: FloatingPointLayout
    let timers: TimerLayout
    let clocks: ClockLayout
    let memory: AddressSpaceLayout
    let pages: PageLayout
    let asynchronousIO: AsynchronousIOLayout?
    /// nil for a kernel without swap.
    let swap: SwapLayout?
    /// nil for a kernel without zswap.
    let zswap: ZswapLayout?
    let xarray: XArrayLayout
    let log: LogLayout
    let files: FileLayout
    let seccomp: SeccompLayout?
    let pidNamespaceIDR: Field
    let pidTasks: Field
    let taskPIDLinks: Field

    /// - Throws: the first structure or field that this kernel lacks and the walk cannot do without.
    public init(_ types: TypeTable) throws(KernelError) {
        task = try TaskLayout(types)
        taskChecks = TaskChecksLayout(types)
        memoryChecks = MemoryChecksLayout(types)
        signal = try SignalLayout(types)
        cgroup = try CgroupLayout(types)
        credentials = try CredentialsLayout(types)
        keyrings = KeyringLayout(types)
        portPermissions = PortPermissionLayout(types)
        schedulingRequests = SchedulingRequestLayout(types)
        namespaces = try NamespaceLayout(types)
        ipc = IPCLayout(types)
        network = NetworkNamespaceLayout(types)
        users = UserNamespaceLayout(types)
        mounts = MountLayout(types)
        registers = try RegisterLayout(types)
        transfers = TransferLayout(types)
        interruptStack = (try? types.structure("pcpu_hot"))?.optional("hardirq_stack_ptr")
        unwinding = UnwindLayout(types)
        floatingPoint = try FloatingPointLayout(types)
        timers = try TimerLayout(types)
        clocks = try ClockLayout(types)
        memory = try AddressSpaceLayout(types)
        pages = try PageLayout(types)
        asynchronousIO = AsynchronousIOLayout(types)
        swap = SwapLayout(types)
        zswap = ZswapLayout(types)
        xarray = try XArrayLayout(types)
        log = try LogLayout(types)
        files = try FileLayout(types)
        seccomp = SeccompLayout(types)
        pidNamespaceIDR = try types.structure("pid_namespace").field("idr")
        pidTasks = try types.structure("pid").field("tasks")
        taskPIDLinks = try types.structure("task_struct").field("pid_links")
    }
}

/// A kernel that no longer runs: its memory, what is known of its layout, and what its CPUs held when they stopped.
public final class DeadKernel {
    public let source: any FrameSource
    public let manifest: KernelManifest
    let layout: KernelLayout
    package let reader: KernelReader
    /// By number.
    let cpus: [Int: VCPUContext]
    /// What could not be read so far, beyond what makes an obstacle of a process.
    public internal(set) var gaps: [Gap] = []
    var cgroupPaths: [VirtualAddress: [UInt8]] = [:]
    var seccompFilters: [VirtualAddress: SeccompFilter] = [:]
    /// Whether each holds keys that somebody put there.
    var knownSessionKeyrings: [VirtualAddress: Bool] = [:]
    /// What contradicts itself in the process that is being read.
    var contradictions: [MemoryFault] = []
    /// Frames of the zero pages, once they were looked up.
    var zeroFrames: Set<FrameNumber>?
    /// The guest's disks, by the names its kernel gives them, as far as they are at hand.
    public var disks: [String: any DiskSource] = [:]
    /// Disks that were asked for and are not at hand.
    public internal(set) var missingDisks: Set<String> = []
    var swapAreas: [Int: SwapArea] = [:]
    var zswapPools: [VirtualAddress: ZswapPool] = [:]
    var knownZsmalloc: ZsmallocLayout?
    /// Once an object was found by it.
    var zsmallocEncoding: ZsmallocEncoding?
    let decompressor = PageDecompressor()
    var knownPageMap: UInt64?
    /// By the head of the list that they are on.
    var pidMembers: [VirtualAddress: Set<TaskAddress>] = [:]
    var knownRunningTasks: [Int: TaskAddress]?
    var knownModuleTypes: [String: TypeTable] = [:]
    /// See ``DeadKernel/callFrames(of:)``; nil: not known.
    var knownCallFrames: [TaskAddress: VirtualAddress?] = [:]
    var knownNetfilterSymbols: ModuleSymbols?
    /// nil: not looked for yet.
    var knownPacketSockets: PacketSocketLayout??
    var knownTunnelFiles: TunnelFileLayout??

    /// The symbols that the walk asks for.
    public static var symbols: Set<String> {
        let ofParts: [Set<String>] = [
            FileReader.symbols, netfilterSymbolNames, GroupBuilder.settingFunctions, Set(namingFunctions), Set(makingSymbols),
            GroupBuilder.neighbourTables, pipeFunctions, unwindSymbols, Set(vforkWaits), Set(closingFunctions), securitySymbols,
        ]
        return Set(ofParts.joined()).union([
            "____fput", "ret_from_fork", "ret_from_fork_asm", "do_syscall_64", "nr_zswap_trees", "init_cred",
            "init_task", "init_pid_ns", "init_nsproxy", "init_user_ns", "page_offset_base", "vmemmap_base", "tk_core",
            "timekeeper_data", "nr_cpu_ids", "hrtimer_wakeup", "hrtimer_nanosleep_restart", "do_restart_poll",
            "futex_wait_restart", "posix_cpu_nsleep_restart", "xstate_offsets", "xstate_sizes", "xstate_flags",
            "xstate_comp_offsets",
            "fpu_kernel_xstate_size", "special_mapping_vmops", "aio_ring_vm_ops", "shm_mnt", "shm_vm_ops", "vdso_image_64",
            "vdso64_image",
            "__start_init_task",
            "__end_init_task", "__start_init_stack", "__end_init_stack", "init_stack", "panic_cpu", "prb",
            "empty_zero_page", "huge_zero_pfn", "fpu_fpregs_owner_ctx", "__per_cpu_offset", "_totalram_pages", "schedule",
            "swap_info", "swapper_spaces", "zswap_trees", "nr_zswap_trees", "zswap_enabled", "zswap_stored_pages",
            "zswap_stored_incompressible_pages", "preempt_schedule", "preempt_schedule_common", "preempt_schedule_irq",
            "preempt_schedule_notrace", "__cond_resched",
            "_cond_resched", "hardirq_stack_ptr", "pcpu_hot", "btf_modules", "cgroup_subsys", "blkcg_policy_throtl",
            "blkcg_policy_iocost",
            "jiffies_64",
        ])
    }

    /// The context of the CPU on which a task was current, for a task that was.
    func context(of task: TaskAddress, onCPU number: Int) throws(MemoryFault) -> VCPUContext? {
        guard cpus.values.contains(where: { $0.taskID != nil }) else { return cpus[number] }
        // The notes of a dying kernel are those of the CPUs that it could reach, without their numbers.
        let id = try reader.int32(layout.task.pid, of: task)
        return cpus.values.first { $0.taskID == id }
    }

    /// - Parameter cpus: contexts of the vCPUs; without them a task that was running loses what only its CPU held.
    public init(source: any FrameSource, manifest: KernelManifest, layout: KernelLayout, cpus: [VCPUContext]) {
        self.source = source
        self.manifest = manifest
        self.layout = layout
        self.cpus = Dictionary(cpus.map { ($0.number, $0) }) { first, _ in first }
        reader = KernelReader(
            memory: VirtualMemory(source: source, tables: manifest.tables), symbols: manifest.symbols)
    }
}
