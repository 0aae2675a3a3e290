import GuestMemory
import ProcessModel

/// How one process goes on: the registers of its threads, what is added to and changed in its memory, and what an operator is to know.
struct ProcessPlan: Sendable {
    var process: DeadProcess
    /// In the order of the process's threads.
    var threads: [RestartedThread] = []
    var stub: RestartStub?
    /// The page of its word by which threads wait for one of them (see ``Prologue``); nil: none does.
    var flagPage: VirtualAddress?
    var patches: [MemoryPatch] = []
    var obstacles: [Obstacle] = []

    var verdict: Verdict { obstacles.map(\.verdict).max() ?? .full }

    init(_ process: DeadProcess, in group: ProtectedGroup, _ namespaces: GroupNamespaces) {
        self.process = process
        if case .zombie = process.state { return }
        checkReferences(group)
        checkProcess(group, namespaces)
        for thread in process.threads { checkThread(thread) }
        if let concern = SeccompImage.concern(about: process) { degrade(concern) }
        guard let id = process.addressSpace, let space = group.addressSpaces[id] else { return }
        checkMemory(space)
        if let ipc = namespaces.ipc, let concern = IPCAssessment.concern(about: space, in: ipc) { refuse(concern) }
        let actions = process.signalActions.flatMap { group.signalActions[$0] }?.actions ?? []
        threads = process.threads.map { RestartedThread($0, handler: Self.handler(for: $0, of: process, actions)) }
        for thread in threads { if let concern = thread.concern { degrade(concern) } }
        patches = threads.flatMap(\.patches)
        var prologues = Prologues(process, in: group)
        for concern in prologues.concerns { obstacles.append(concern) }
        makeStub(in: space, &prologues.ofThreads)
    }

    /// The handler that the thread runs before anything else; nil: none.
    private static func handler(for thread: DeadThread, of process: DeadProcess, _ actions: [SignalAction]) -> SignalAction? {
        let pending = (thread.pendingSignals + process.pendingSignals).map(\.signal).filter {
            thread.signalMask >> UInt64($0 - 1) & 1 == 0
        }
        // SIG_DFL and SIG_IGN are no handlers. The lowest comes first (next_signal, kernel/signal.c).
        return pending.sorted().lazy.compactMap { number in
            actions.indices.contains(Int(number) - 1) ? actions[Int(number) - 1] : nil
        }.first { $0.handler > 1 }
    }

    private mutating func degrade(_ reason: String) { obstacles.append(Obstacle(.degraded, pid: process.pid, reason: reason)) }
    private mutating func refuse(_ reason: String) { obstacles.append(Obstacle(.refused, pid: process.pid, reason: reason)) }

    private mutating func checkReferences(_ group: ProtectedGroup) {
        if process.addressSpace.flatMap({ group.addressSpaces[$0] }) == nil { refuse("its memory could not be read") }
        if process.descriptorTable.flatMap({ group.descriptorTables[$0] }) == nil { refuse("its open files could not be read") }
        if process.filesystemContext.flatMap({ group.filesystemContexts[$0] }) == nil {
            refuse("its working directory could not be read")
        }
        if process.signalActions.flatMap({ group.signalActions[$0] }) == nil { refuse("its signal handlers could not be read") }
        if process.threads.first?.tid != process.pid { refuse("its main thread has ended") }
        checkSharedDescriptors(group)
        for other in group.processes where other.pid != process.pid {
            if let shared = process.addressSpace, other.addressSpace == shared {
                refuse("it shares its memory with process \(other.pid)")
            }
            if let shared = process.filesystemContext, other.filesystemContext == shared, other.pid > process.pid {
                degrade("it shared its working directory with process \(other.pid); each has its own now")
            }
        }
    }

    /// CRIU has a child share its parent's descriptors (CLONE_FILES), so those who share a table must hang together in the tree.
    private mutating func checkSharedDescriptors(_ group: ProtectedGroup) {
        guard let shared = process.descriptorTable else { return }
        let sharers = group.processes.filter { $0.descriptorTable == shared }
        func isTop(_ sharer: DeadProcess) -> Bool { !sharers.contains { $0.pid == sharer.parentPID } }
        guard isTop(process), let other = sharers.first(where: { $0.pid < process.pid && isTop($0) }) else { return }
        refuse("it shares its descriptors with process \(other.pid), which is not above it in the process tree")
    }

    private mutating func checkProcess(_ group: ProtectedGroup, _ namespaces: GroupNamespaces) {
        let own = process.namespaces
        let host = group.initNamespaces
        let expected = namespaces.pidNumber ?? host.pid
        if own.pid != expected, own.pid != 0, expected != 0 { refuse("it is in a pid namespace of its own") }
        for timer in process.posixTimers where timer.countsAnotherTime {
            degrade(
                "timer \(timer.id) counts the processor time of one thread or of another process: it fires early, and may count another's from then on"
            )
        }
        // CRIU would send it, and fail with the process.
        if (process.pendingSignals + process.threads.flatMap(\.pendingSignals)).contains(where: { $0.signal == 9 }) {
            refuse("it was being killed (SIGKILL)")
        }
        if process.resourceLimits.count != 16 { refuse("its resource limits could not be read") }
        if case .stopped(let signal) = process.state, signal != 19 {
            degrade("it was stopped by signal \(signal); its parent will be told of SIGSTOP")
        }
        if process.exitSignal != 17, process.exitSignal != 0 {
            degrade("its exit signal was \(process.exitSignal); it is SIGCHLD now")
        }
        for concern in KeyringAssessment.concerns(about: process) { degrade(concern) }
    }

    private mutating func checkThread(_ thread: DeadThread) {
        let name = "thread \(thread.tid)"
        if thread.registers.cs != 0x33 { refuse("\(name) runs 32-bit code") }
        switch thread.seccomp {
        case .off, .strict: break
        case .filters(let filters):
            if filters.contains(where: { $0.program == nil }) {
                refuse("\(name) is under a seccomp filter that the kernel kept no program of")
            }
            if filters.contains(where: \.hasListener) { refuse("\(name) is under a seccomp filter with a listener") }
        case .other(let mode): refuse("\(name) is in the unknown seccomp mode \(mode)")
        }
        if thread.dispatchesCalls {
            refuse("\(name) has the kernel hand it its own calls (PR_SET_SYSCALL_USER_DISPATCH), which CRIU cannot set")
        }
        // SCHED_DEADLINE and SCHED_EXT; CRIU knows the parameters of neither, and its restore fails.
        if thread.scheduling.policy > 5 {
            refuse("\(name) has the scheduling policy \(thread.scheduling.policy), which CRIU cannot set")
        }
        if thread.scheduling.resetsOnFork {
            degrade("what \(name) starts has its scheduling policy too now (SCHED_RESET_ON_FORK), which CRIU does not set")
        }
        if let module = thread.credentials.confinement {
            degrade("\(name) is not confined by \(module) any more, which CRIU is not told")
        }
        if thread.scheduling.hasMemoryPolicy {
            degrade("\(name) had a NUMA memory policy (set_mempolicy), which CRIU does not set")
        }
        if thread.hasPortPermissions {
            refuse("\(name) has permissions for I/O ports (ioperm, iopl), which are not set again")
        }
        for concern in ThreadControlAssessment.concerns(about: thread) { degrade(concern) }
        guard let state = thread.floatingPoint, state.legacy.count == 512 else {
            refuse("the vector registers of \(name) could not be read")
            return
        }
        let unknown = state.presentComponents & ~RegistersImage.knownComponents
        if unknown != 0 {
            refuse("\(name) uses processor state that CRIU does not save (components 0x\(String(unknown, radix: 16)))")
        }
    }

    private mutating func checkMemory(_ space: AddressSpace) {
        if space.executable == nil { refuse("its executable could not be found") }
        checkAsynchronousIO(space)
        if space.hasSegmentDescriptors {
            refuse("it has descriptors of segments of its own (modify_ldt), which are not set again")
        }
        if space.mergesFutureMappings {
            degrade("memory that it maps from now on is not merged with that of others (PR_SET_MEMORY_MERGE)")
        }
        var last: UInt64 = 0
        for mapping in space.mappings {
            if mapping.start.rawValue < last || mapping.end <= mapping.start
                || (mapping.start.rawValue | mapping.end.rawValue) & 0xfff != 0
            {
                refuse("its memory map is damaged at \(mapping.start)")
                return
            }
            last = mapping.end.rawValue
            switch mapping.kind {
            case .unsupported(let what): refuse("mapping at \(mapping.start): \(what)")
            default: break
            }
        }
        if let mapping = space.mappings.first(where: \.isLockedOnFault) {
            degrade("its memory from \(mapping.start) on was locked when touched (MLOCK_ONFAULT), and is locked as a whole now")
        }
        if let mapping = space.mappings.first(where: \.hasMemoryPolicy) {
            degrade("its memory from \(mapping.start) on had a NUMA policy (mbind), which CRIU does not set")
        }
    }

    /// What was under way is lost with the kernel. Each context has its ring.
    private mutating func checkAsynchronousIO(_ space: AddressSpace) {
        let rings = space.mappings.filter { if case .asynchronousIORing = $0.kind { true } else { false } }
        let places = Dictionary(rings.map { ($0.start, $0.end.rawValue &- $0.start.rawValue) }) { first, _ in first }
        for context in space.asynchronousIO {
            if context.requestsUnderWay > 0 {
                refuse("it has asynchronous I/O under way (\(context.requestsUnderWay) requests)")
            }
            guard places[context.ring] == context.ringBytes, MemoryImage.requests(of: context) > 0 else {
                refuse("the ring of asynchronous I/O at \(context.ring) is not where its context is")
                continue
            }
        }
        if rings.count > space.asynchronousIO.count { refuse("it has a ring of asynchronous I/O without a context") }
    }

    private mutating func makeStub(in space: AddressSpace, _ prologues: inout [Prologue?]) {
        let size = RestartStub.byteCount(calls: threads.count { $0.resumedCall != nil }, prologues.compactMap(\.self))
        guard size > 0 else { return }
        let needsFlag = prologues.contains { $0?.steps.contains(.tell) ?? false }
        let all = size + (needsFlag ? RestartStub.pageSize : 0)
        guard size <= RestartStub.byteLimit, let address = RestartStub.place(among: space.mappings, byteCount: all) else {
            giveUpStub(&prologues)
            return
        }
        let flag = VirtualAddress(rawValue: address.rawValue &+ size)
        if needsFlag { flagPage = flag }
        var made = RestartStub(address: address)
        for index in threads.indices {
            if let call = threads[index].resumedCall { made.resume(call, registers: &threads[index].registers) }
            guard let prologue = prologues[index] else { continue }
            made.begin(prologue, flag: flag, registers: &threads[index].registers)
            if prologue.setsSignalMask { process.threads[index].signalMask = .max }
        }
        stub = made
    }

    private mutating func giveUpStub(_ prologues: inout [Prologue?]) {
        let calls = threads.count { $0.resumedCall != nil }
        if calls > 0 { degrade("\(calls) calls in the middle start again, for there was no room for their continuation") }
        if prologues.contains(where: { $0 != nil }) { refuse("there was no room in its memory for what it has to set itself") }
        for index in threads.indices {
            guard let call = threads[index].resumedCall else { continue }
            threads[index].registers.ip = threads[index].registers.ip &- 2
            threads[index].registers.ax = call.number
            threads[index].registers.origAX = .max
            threads[index].resumedCall = nil
        }
    }

    /// The address space with the stub in it.
    func addressSpace(_ original: AddressSpace) -> AddressSpace {
        guard let stub else { return original }
        var space = original
        func add(_ start: VirtualAddress, _ byteCount: UInt64, protection: UInt32) {
            let end = VirtualAddress(rawValue: start.rawValue &+ byteCount)
            space.mappings.append(Mapping(start: start, end: end, offsetBytes: 0, protection: protection, kind: .anonymous))
        }
        // PROT_READ | PROT_EXEC
        add(stub.address, stub.byteCount, protection: 5)
        // PROT_READ | PROT_WRITE
        if let flagPage { add(flagPage, RestartStub.pageSize, protection: 3) }
        space.mappings.sort { $0.start < $1.start }
        return space
    }
}
