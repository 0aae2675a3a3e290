import GuestMemory
import KernelObjects
import KernelTypes
import ProcessModel

/// One protected group as read out of the dead kernel, with the way to its pages.
public struct ReadGroup {
    public var group: ProtectedGroup
    public var pages: KernelPages
    /// Whether it cannot come back because pages were left out of the source on purpose.
    public var lacksPages = false
}

extension DeadKernel {
    /// The protected groups, or those with these names: the cgroups below `/xenpr` that hold processes.
    ///
    /// A task that cannot be read becomes an obstacle of its group, and costs the other groups nothing.
    public func groups(named wanted: Set<String>? = nil) -> [ReadGroup] {
        let clocks: GuestClocks
        do throws(MemoryFault) { clocks = try self.clocks() } catch {
            gaps.append(Gap(object: "clocks", field: "tk_core", fault: error))
            clocks = GuestClocks(monotonicNanoseconds: 0, boottimeNanoseconds: 0, realtimeNanoseconds: 0)
        }
        let leaders = threadGroups()
        let members = members(of: leaders).filter { wanted?.contains($0.key) ?? true }
        var initNamespaces = Namespaces()
        if let initProcess = leaders.first(where: { (try? reader.int32(layout.task.pid, of: $0)) == 1 }) {
            initNamespaces = (try? namespaces(of: initProcess)) ?? initNamespaces
        }
        return members.sorted { $0.key < $1.key }.map { name, tasks in
            var builder = GroupBuilder(kernel: self, name: name, clocks: clocks, initNamespaces: initNamespaces)
            for task in tasks { builder.add(task) }
            var read = builder.finish()
            if let obstacle = obstacle(ofOmittedPagesTo: read) {
                read.group.obstacles.insert(obstacle, at: 0)
                read.lacksPages = true
            }
            return read
        }
    }

    /// The names of all protected groups.
    public func groupNames() -> Set<String> { Set(members(of: threadGroups()).keys) }

    /// The processes of each protected group.
    private func members(of leaders: [TaskAddress]) -> [String: [TaskAddress]] {
        var members: [String: [TaskAddress]] = [:]
        for leader in leaders {
            do throws(MemoryFault) {
                let path = try cgroupPath(of: leader)
                if let name = Self.groupName(ofCgroup: path) { members[name, default: []].append(leader) }
            } catch {
                gaps.append(Gap(object: describe(leader), field: "task_struct.cgroups", fault: error))
            }
        }
        return members
    }

    /// A task in words: `task 812 (postgres)`.
    func describe(_ task: TaskAddress) -> String {
        guard let pid = try? reader.int32(layout.task.pid, of: task) else { return "task at \(task)" }
        let name = (try? reader.text(layout.task.comm, of: task)).map { String(decoding: $0, as: UTF8.self) } ?? "?"
        return "task \(pid) (\(name))"
    }
}

/// Puts one group together, and numbers what its processes share.
struct GroupBuilder {
    let kernel: DeadKernel
    var group: ProtectedGroup
    var files: FileReader
    var pages: KernelPages
    private var addressSpaces: [VirtualAddress: AddressSpaceID] = [:]
    private var signalActions: [VirtualAddress: SignalActionsID] = [:]
    private var signalActionUsers: [VirtualAddress: Int] = [:]
    private var unannounced: [UnannouncedEnd] = []
    private var hasReadCgroups = false
    private var memoryUsers: [AddressSpaceID: [TaskAddress]] = [:]

    init(kernel: DeadKernel, name: String, clocks: GuestClocks, initNamespaces: Namespaces) {
        self.kernel = kernel
        group = ProtectedGroup(
            name: name, cgroupPath: KernelString("/xenpr/" + name), clocks: clocks, initNamespaces: initNamespaces)
        files = FileReader(
            kernel: kernel.reader, layout: kernel.layout.files, clocks: clocks,
            overlays: kernel.overlayInodes, packets: kernel.packetSockets, tunnels: kernel.tunnelFiles)
        pages = KernelPages(kernel: kernel)
    }

    /// Reads a process; what cannot be read refuses the process, and is said.
    mutating func add(_ leader: TaskAddress) {
        kernel.contradictions = []
        do throws(MemoryFault) {
            let process = try process(leader)
            group.processes.append(process)
            for fault in kernel.contradictions {
                group.obstacles.append(
                    Obstacle(.refused, pid: process.pid, reason: "the kernel contradicts itself about it: \(fault)"))
            }
        } catch {
            let gap = Gap(object: kernel.describe(leader), field: "process", fault: error)
            kernel.gaps.append(gap)
            let pid = try? kernel.reader.int32(kernel.layout.task.pid, of: leader)
            group.obstacles.append(Obstacle(.refused, pid: pid, reason: "cannot read \(gap.object): \(error)"))
        }
    }

    mutating func finish() -> ReadGroup {
        files.finish()
        files.makeMemfds(in: &group.addressSpaces)
        group.openFiles = files.openFiles
        group.descriptorTables = files.descriptorTables
        group.filesystemContexts = files.filesystemContexts
        group.pipes = files.pipes
        group.terminals = files.terminals
        group.fileLocks = files.fileLocks
        group.sharedMemory = files.sharedMemory
        group.obstacles += files.obstacles
        pages.sharedMappings = files.sharedMemoryMappings
        pages.deletedFiles = files.deletedFileMappings
        kernel.gaps += files.gaps
        group.processes.sort { $0.pid < $1.pid }
        announceEnds()
        return ReadGroup(group: group, pages: pages)
    }

    /// A parent that waits for the signal of its child's end would wait for ever; of signals below 32 no second one is queued.
    private mutating func announceEnds() {
        for end in unannounced {
            guard let parent = group.processes.firstIndex(where: { $0.pid == end.parentPID }),
                !group.processes[parent].pendingSignals.contains(where: { $0.signal == end.signal.signal })
            else { continue }
            group.processes[parent].pendingSignals.append(end.signal)
        }
    }

    private mutating func process(_ leader: TaskAddress) throws(MemoryFault) -> DeadProcess {
        let reader = kernel.reader
        let fields = kernel.layout.task
        let signal = try reader.pointer(fields.signal, of: leader)
        func pid(_ type: Int) throws(MemoryFault) -> Int32 {
            let structure = try reader.pointer(kernel.layout.signal.pids.element(type), of: signal)
            try notePIDs(at: structure)
            return try kernel.pid(ofStructPID: structure)
        }
        let state = try state(of: leader, signal: signal)
        try notePIDs(at: reader.pointer(fields.threadPID, of: leader))
        let parent = try kernel.livingParent(of: leader)
        var process = DeadProcess(
            pid: try reader.int32(fields.tgid, of: leader), parentPID: try reader.int32(fields.tgid, of: parent),
            processGroupID: try pid(SignalLayout.PIDType.processGroup), sessionID: try pid(SignalLayout.PIDType.session),
            state: state, command: KernelString(bytes: try reader.text(fields.comm, of: leader)))
        process.exitSignal = try reader.int32(fields.exitSignal, of: leader)
        process.personality = try reader.uint32(fields.personality, of: leader)
        process.flags = try reader.uint32(fields.flags, of: leader)
        process.cgroupPath = KernelString(bytes: try kernel.cgroupPath(of: leader))
        readCgroups(around: leader)
        try kernel.check(leader: leader, signal: signal)
        if case .zombie(let exitCode) = state {
            // SIGNAL_GROUP_EXIT
            if try reader.value(kernel.layout.signal.flags, of: signal) & 4 == 0, try kernel.threads(of: leader).count > 1 {
                group.obstacles.append(
                    Obstacle(
                        .refused, pid: nil,
                        reason: "the main thread of process \(process.pid) has ended, and others of its threads have not"))
            }
            if let end = try kernel.unannouncedEnd(of: leader, exitCode: exitCode) { unannounced.append(end) }
            return process
        }
        process.namespaces = try kernel.namespaces(of: leader)
        if let kind = try kernel.namespaceOfChildren(of: leader, besides: process.namespaces) {
            group.obstacles.append(
                Obstacle(
                    .degraded, pid: process.pid,
                    reason: "what it starts next is no longer in the \(kind) namespace that it chose")
            )
        }
        readNamespaces(of: leader, process.namespaces)
        if let field = fields.loginUID {
            let value = try reader.uint32(field, of: leader)
            process.loginUID = value == .max ? nil : value
        }
        try readShared(ofSignal: signal, into: &process)
        if try reader.value(fields.ptrace, of: leader) != 0 {
            group.obstacles.append(
                Obstacle(.degraded, pid: process.pid, reason: "it was being traced; the tracer is not attached again"))
        }
        let mm = try reader.pointer(fields.mm, of: leader)
        guard !mm.isNull else { throw MemoryFault(.damaged("a living process without memory"), at: leader) }
        let space = try addressSpace(at: mm)
        process.addressSpace = space
        if let state = fields.executionState, let dumpable = fields.dumpable {
            group.addressSpaces[space]?.dumpable = try reader.int32(dumpable, of: reader.pointer(state, of: leader))
        }
        if let field = fields.inExec, try reader.value(field, of: leader) != 0,
            let space = process.addressSpace.flatMap({ group.addressSpaces[$0] }), space.auxiliaryVector.allSatisfy({ $0 == 0 })
        {
            // The auxiliary vector comes last: its old memory is gone and its new one half made, so neither program can go on.
            // Before that point execve is simply made again.
            group.obstacles.append(
                Obstacle(.refused, pid: process.pid, reason: "it was just being replaced by another program (inside execve)"))
        }
        process.descriptorTable = files.descriptorTable(at: try reader.pointer(fields.files, of: leader), pid: process.pid)
        process.filesystemContext = files.filesystemContext(at: try reader.pointer(fields.fs, of: leader), pid: process.pid)
        let threads = try kernel.threads(of: leader)
        process.signalActions = try signalActions(at: try reader.pointer(fields.sighand, of: leader), users: threads.count)
        for task in threads {
            try kernel.check(task, of: leader)
            process.threads.append(try kernel.thread(task, clocks: group.clocks))
            try notePIDs(at: reader.pointer(fields.threadPID, of: task))
            try checkShares(task, with: leader, pid: process.pid)
        }
        try checkMemory(at: mm, of: process, leader: leader, threads: threads)
        return process
    }

    /// Reads the group's cgroups, once.
    private mutating func readCgroups(around leader: TaskAddress) {
        guard !hasReadCgroups else { return }
        hasReadCgroups = true
        do throws(MemoryFault) {
            let (cgroups, losses) = try kernel.cgroups(around: leader)
            group.cgroups = cgroups
            group.obstacles += losses.map { Obstacle(.degraded, pid: nil, reason: $0) }
        } catch {
            kernel.gaps.append(Gap(object: kernel.describe(leader), field: "cgroup", fault: error))
            let reason = "its cgroups have no limits and no device filters any more: they could not be read: \(error)"
            group.obstacles.append(Obstacle(.degraded, pid: nil, reason: reason))
        }
    }

    /// `EXIT_ZOMBIE`, `EXIT_DEAD` and `SIGNAL_STOP_STOPPED` (include/linux/sched.h, include/linux/sched/signal.h).
    private func state(of leader: TaskAddress, signal: VirtualAddress) throws(MemoryFault) -> DeadProcess.State {
        let reader = kernel.reader
        let fields = kernel.layout.task
        let hasEnded = try reader.value(fields.exitState, of: leader) & 0x30 != 0
        if try hasEnded ? true : kernel.isEnding(leader) {
            return .zombie(exitCode: try reader.int32(fields.exitCode, of: leader))
        }
        // Stopped, or about to be: the signal is taken, and some thread has not come to its stop yet (do_signal_stop, kernel/signal.c). A process that ends counts
        // threads there too; it has been told above.
        let isStopped = try reader.value(kernel.layout.signal.flags, of: signal) & 1 != 0
        let isStopping = try reader.int32(kernel.layout.signal.stopCount, of: signal) > 0
        if isStopped || isStopping {
            // JOBCTL_STOP_SIGMASK
            let number = Int32(truncatingIfNeeded: try reader.value(fields.jobControl, of: leader) & 0xffff)
            return .stopped(signal: number == 0 ? 19 : number)
        }
        return .running
    }

    private mutating func readShared(ofSignal signal: VirtualAddress, into process: inout DeadProcess) throws(MemoryFault) {
        let reader = kernel.reader
        let fields = kernel.layout.signal
        process.isChildSubreaper = try reader.value(fields.isChildSubreaper, of: signal) == 1
        process.oomScoreAdjustment = Int32(truncatingIfNeeded: try reader.signed(fields.oomScoreAdjustment, of: signal))
        for index in 0..<min(fields.resourceLimits.count, 16) {
            let limit = signal + fields.resourceLimits.element(index).offset
            process.resourceLimits.append(
                ResourceLimit(current: try reader.memory.integer(at: limit), maximum: try reader.memory.integer(at: limit + 8)))
        }
        process.pendingSignals = try kernel.pendingSignals(at: signal + fields.sharedPending.offset)
        process.intervalTimers = try kernel.intervalTimers(ofSignal: signal, clocks: group.clocks)
        process.posixTimers = try kernel.posixTimers(ofSignal: signal, clocks: group.clocks)
        let terminal = try reader.pointer(fields.tty, of: signal)
        guard !terminal.isNull else { return }
        do throws(MemoryFault) { process.controllingTerminal = try files.terminal(at: terminal) } catch {
            let reason = "its controlling terminal is gone, for it could not be read: \(error)"
            group.obstacles.append(Obstacle(.degraded, pid: process.pid, reason: reason))
        }
    }

    private mutating func addressSpace(at mm: VirtualAddress) throws(MemoryFault) -> AddressSpaceID {
        if let known = addressSpaces[mm] { return known }
        let id = AddressSpaceID(rawValue: UInt32(addressSpaces.count + 1))
        let space = try kernel.addressSpace(at: mm, files: &files)
        addressSpaces[mm] = id
        group.addressSpaces[id] = space.value
        pages.spaces[id] = space
        return id
    }

    private mutating func signalActions(at sighand: VirtualAddress, users: Int) throws(MemoryFault) -> SignalActionsID {
        signalActionUsers[sighand, default: 0] += users
        if let known = signalActions[sighand] {
            try kernel.check(SignalActions(actions: []), at: sighand, users: signalActionUsers[sighand] ?? 0)
            return known
        }
        let id = SignalActionsID(rawValue: UInt32(signalActions.count + 1))
        let actions = try kernel.signalActions(at: sighand)
        try kernel.check(actions, at: sighand, users: users)
        group.signalActions[id] = actions
        signalActions[sighand] = id
        return id
    }

    private mutating func checkMemory(
        at mm: VirtualAddress, of process: DeadProcess, leader: TaskAddress, threads: [TaskAddress]
    ) throws(MemoryFault) {
        guard let id = process.addressSpace else { return }
        memoryUsers[id, default: []] += threads
        pages.spaces[id]?.pageCounts = try kernel.expectedPages(of: mm, users: memoryUsers[id] ?? [])
        try kernel.checkOwner(of: mm, leader: leader, users: memoryUsers[id]?.count ?? 0)
        guard let space = group.addressSpaces[id] else { return }
        for thread in process.threads { kernel.checkInstructionPointer(of: thread, in: space, leader: leader) }
    }

    /// A thread shares memory and signal actions with its leader by definition, descriptors, working directory and namespaces by habit;
    /// CRIU knows no thread that has its own.
    private mutating func checkShares(_ task: TaskAddress, with leader: TaskAddress, pid: Int32) throws(MemoryFault) {
        let fields = kernel.layout.task
        for (field, what) in [(fields.files, "descriptors"), (fields.fs, "working directory")]
        where try kernel.reader.pointer(field, of: task) != kernel.reader.pointer(field, of: leader) {
            group.obstacles.append(
                Obstacle(.refused, pid: pid, reason: "\(kernel.describe(task)) has \(what) of its own, apart from its process"))
        }
        let proxy = try kernel.reader.pointer(fields.nsproxy, of: task)
        // A thread that ends has left them already.
        let common = try kernel.reader.pointer(fields.nsproxy, of: leader)
        guard !proxy.isNull, proxy != common else { return }
        let (own, shared) = (try kernel.namespaces(of: task), try kernel.namespaces(of: leader))
        guard own != shared else { return }
        group.obstacles.append(
            Obstacle(.refused, pid: pid, reason: "\(kernel.describe(task)) has namespaces of its own, apart from its process"))
    }
}
