import GuestMemory
import ProcessModel

/// Frames in memory, lent one piece each: what a dump file does at its worst.
struct ArraySupply: PageSupply {
    var frames: [UInt64: [UInt8]] = [:]
    var runs: [MemoryObject: [PageRun]] = [:]
    /// Runs handed out at once.
    var batch = 2
    /// A frame that cannot be read.
    var badFrame: UInt64?

    mutating func add(_ object: MemoryObject, _ address: UInt64, _ fill: UInt8) {
        let frame = UInt64(frames.count) &+ 100
        frames[frame] = (0..<4096).map { UInt8(truncatingIfNeeded: $0) ^ fill }
        runs[object, default: []].append(PageRun(address: VirtualAddress(address), frame: FrameNumber(frame)))
    }

    mutating func forEachBatch(of object: MemoryObject, _ body: ([PageRun]) -> Bool) throws(PageSupplyError) {
        var rest = (runs[object] ?? [])[...]
        while !rest.isEmpty {
            guard body(Array(rest.prefix(batch))) else { return }
            rest = rest.dropFirst(batch)
        }
    }

    mutating func lend(_ wanted: [FrameNumber], _ body: ([UnsafeRawBufferPointer]) -> Void) throws(PageSupplyError) {
        var storage: [UInt8] = []
        for frame in wanted {
            guard frame.rawValue != badFrame, let bytes = frames[frame.rawValue] else {
                throw PageSupplyError("\(frame) is not in the dump")
            }
            storage += bytes
        }
        // The pointers live as long as this closure.
        unsafe storage.withUnsafeBytes { all in
            let pieces = unsafe (0..<wanted.count).map {
                unsafe UnsafeRawBufferPointer(rebasing: all[$0 * 4096..<($0 + 1) * 4096])
            }
            unsafe body(pieces)
        }
    }
}

/// A group with a bit of everything, made by hand.
struct SyntheticGroup {
    var group: ProtectedGroup
    var supply = ArraySupply()

    static let keeper: Int32 = 2000
    static let worker: Int32 = 2001
    static let dead: Int32 = 2003

    init() {
        let clocks = GuestClocks(
            monotonicNanoseconds: 22_500_000_000, boottimeNanoseconds: 23_000_000_001,
            realtimeNanoseconds: 1_700_000_000_000_000_000)
        group = ProtectedGroup(name: "sample", cgroupPath: "/xenpr/sample", clocks: clocks, initNamespaces: Namespaces())
        let program = FileNode(path: "/usr/bin/worker", type: .regular, inode: 7, mode: 0o100755, sizeBytes: 8192)
        let log = FileNode(path: "/var/tmp/log", type: .regular, inode: 8, mode: 0o100644, sizeBytes: 77)
        let removed = FileNode(
            path: "/tmp/scratch", type: .regular, isDeleted: true, device: 5, inode: 9, mode: 0o100600, sizeBytes: 5000)
        let null = FileNode(path: "/dev/null", type: .characterDevice(major: 1, minor: 3), mode: 0o20666)
        add(1, .path(program))
        add(2, .path(null), flags: 2)
        add(3, .path(log), flags: 0o102001, position: 77)
        add(4, .pipe(PipeID(rawValue: 1)))
        add(5, .pipe(PipeID(rawValue: 1)), flags: 1)
        add(6, .eventfd(counter: 3, isSemaphore: false), flags: 2)
        add(7, .epoll([EpollTarget(descriptor: 6, file: FileID(rawValue: 6), events: 1, data: 42)]), flags: 2)
        add(8, .memfd(SharedMemoryID(rawValue: 2)), flags: 2)
        add(9, .path(removed), flags: 2, position: 10)
        add(
            10,
            .timerfd(
                TimerDescriptor(
                    clock: 1, ticks: 0, settimeFlags: 0, intervalNanoseconds: 0, remainingNanoseconds: 5_000_000_000)), flags: 2
        )
        add(11, .signalfd(mask: 0x200), flags: 2)
        var left = UnixSocket(type: 1, state: .connected, inode: 901, peer: .inode(902))
        left.receiveQueue = [UnixSocket.Message(bytes: Array("hello".utf8))]
        add(12, .unixSocket(left), flags: 2)
        add(13, .unixSocket(UnixSocket(type: 1, state: .connected, inode: 902, peer: .inode(901))), flags: 2)
        var listener = InetSocket(family: 2, type: 1, transport: 6, state: .listening, inode: 903)
        listener.sourceAddress = [127, 0, 0, 1]
        listener.sourcePort = 6379
        listener.backlog = 511
        add(14, .inetSocket(listener), flags: 2)
        group.pipes[PipeID(rawValue: 1)] = Pipe(
            inode: 900, queuedBytes: Array("queued".utf8), capacityBytes: 65536, readers: 1, writers: 1)
        group.sharedMemory[SharedMemoryID(rawValue: 1)] = SharedMemory(sizeBytes: 8192, inode: 50, device: 1)
        group.sharedMemory[SharedMemoryID(rawValue: 2)] = SharedMemory(
            sizeBytes: 100, inode: 51, device: 1,
            memfd: SharedMemory.Memfd(name: "buffer", uid: 0, gid: 0, mode: 0o777, seals: 0))

        let root = FileNode(path: "/", type: .directory, mode: 0o40755)
        for id in [UInt32(1), 2] {
            group.filesystemContexts[FilesystemContextID(rawValue: id)] = FilesystemContext(
                workingDirectory: root, root: root, umask: 0o22)
            group.signalActions[SignalActionsID(rawValue: id)] = SignalActions(
                actions: Array(repeating: SignalAction(), count: 64))
            group.addressSpaces[AddressSpaceID(rawValue: id)] = space()
            let object = MemoryObject.addressSpace(AddressSpaceID(rawValue: id))
            supply.add(object, 0x5555_5550_0000, 1)
            supply.add(object, 0x5555_5550_1000, 2)
            supply.add(object, 0x7fff_0000_1000, 3)
            supply.add(object, 0x7fff_7ff0_4000, 4)
        }
        supply.add(.sharedMemory(SharedMemoryID(rawValue: 1)), 0x1000, 5)
        supply.add(.sharedMemory(SharedMemoryID(rawValue: 2)), 0, 6)
        supply.add(.deletedFile(device: 5, inode: 9), 0, 7)
        supply.add(.deletedFile(device: 5, inode: 9), 0x1000, 8)

        group.descriptorTables[DescriptorTableID(rawValue: 1)] = DescriptorTable(
            descriptors: (0..<3).map { Descriptor(number: $0, file: FileID(rawValue: 2), closesOnExec: false) })
        group.descriptorTables[DescriptorTableID(rawValue: 2)] = DescriptorTable(
            descriptors: (2...14).map {
                Descriptor(number: Int32($0), file: FileID(rawValue: UInt32($0)), closesOnExec: $0 == 3)
            })

        var keeper = process(Self.keeper, parent: 1, session: Self.keeper, shared: 1)
        keeper.isChildSubreaper = true
        var worker = process(Self.worker, parent: Self.keeper, session: Self.keeper, shared: 2)
        worker.threads.append(thread(2002))
        worker.pendingSignals = [PendingSignal(signal: 10, info: [10, 0, 0, 0])]
        worker.intervalTimers.real = IntervalTimer(remainingNanoseconds: 1_500_000_000)
        worker.posixTimers = [
            PosixTimer(
                id: 0, clock: 1, signal: 14, notification: 0, value: 0, overrun: -1, intervalNanoseconds: 0,
                remainingNanoseconds: 7,
                threadID: nil)
        ]
        group.processes = [
            worker, keeper,
            DeadProcess(
                pid: Self.dead, parentPID: Self.worker, processGroupID: Self.dead, sessionID: Self.keeper,
                state: .zombie(exitCode: 256),
                command: "gone"),
        ]
    }

    mutating func add(_ id: UInt32, _ kind: OpenFile.Kind, flags: UInt32 = 0, position: UInt64 = 0) {
        group.openFiles[FileID(rawValue: id)] = OpenFile(kind: kind, flags: flags, position: position)
    }

    private func space() -> AddressSpace {
        var space = AddressSpace()
        space.executable = FileID(rawValue: 1)
        space.auxiliaryVector = [6, 4096, 0, 0, 9, 9]
        func mapping(_ start: UInt64, _ end: UInt64, _ kind: Mapping.Kind, growsDown: Bool = false) -> Mapping {
            Mapping(
                start: VirtualAddress(start), end: VirtualAddress(end), offsetBytes: 0, protection: 3, kind: kind,
                growsDown: growsDown)
        }
        space.mappings = [
            mapping(0x5555_5550_0000, 0x5555_5550_2000, .privateFile(FileID(rawValue: 1))),
            mapping(0x5555_5560_0000, 0x5555_5561_0000, .heap),
            mapping(0x7ffe_0000_0000, 0x7ffe_0000_2000, .sharedAnonymous(SharedMemoryID(rawValue: 1))),
            mapping(0x7fff_0000_0000, 0x7fff_0000_4000, .stack, growsDown: true),
            mapping(0x7fff_7ff0_0000, 0x7fff_7ff0_4000, .vvar),
            mapping(0x7fff_7ff0_4000, 0x7fff_7ff0_5000, .vdso),
        ]
        return space
    }

    func thread(_ tid: Int32) -> DeadThread {
        var registers = GeneralRegisters()
        registers.ip = 0x5555_5550_0800
        registers.sp = 0x7fff_0000_1800
        var thread = DeadThread(tid: tid, command: "worker", registers: registers)
        thread.floatingPoint = FloatingPointState(
            legacy: Array(repeating: 0x11, count: 512), presentComponents: 7,
            components: [2: Array(repeating: 0x22, count: 256)])
        thread.scheduling.affinity = [0b01]
        thread.scheduling.possibleCPUs = 2
        return thread
    }

    private func process(_ pid: Int32, parent: Int32, session: Int32, shared: UInt32) -> DeadProcess {
        var process = DeadProcess(
            pid: pid, parentPID: parent, processGroupID: pid, sessionID: session, state: .running,
            command: pid == Self.keeper ? "keeper" : "worker")
        process.cgroupPath = "/xenpr/sample"
        process.resourceLimits = Array(repeating: ResourceLimit(current: 1024, maximum: .max), count: 16)
        process.addressSpace = AddressSpaceID(rawValue: shared)
        process.descriptorTable = DescriptorTableID(rawValue: shared)
        process.filesystemContext = FilesystemContextID(rawValue: shared)
        process.signalActions = SignalActionsID(rawValue: shared)
        process.threads = [thread(pid)]
        return process
    }

    /// Puts a pseudo terminal in, and returns an open slave of it.
    mutating func addTerminal(_ terminal: Terminal) -> TerminalFile {
        let id = TerminalID(rawValue: UInt32(group.terminals.count + 1))
        group.terminals[id] = terminal
        return TerminalFile(
            role: .device, terminal: id,
            node: FileNode(path: "/dev/pts/0", type: .characterDevice(major: 136, minor: 0), mode: 0o20620))
    }
}
