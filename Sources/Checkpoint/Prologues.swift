import GuestMemory
import ProcessModel

/// What each thread of a process has to do before it goes on, and what it cannot, for its seccomp filters would end it.
struct Prologues: Sendable {
    /// In the order of the process's threads.
    var ofThreads: [Prologue?]
    private(set) var concerns: [Obstacle] = []

    private let process: DeadProcess

    init(_ process: DeadProcess, in group: ProtectedGroup) {
        self.process = process
        var steps = process.threads.map { _ in [Prologue.Step]() }
        ofThreads = []
        for (index, thread) in process.threads.enumerated() {
            // PR_SET_NO_NEW_PRIVS, which CRIU sets from 4.0 on. It is one thread's own, as is the personality, which CRIU saves and does not set (criu/cr-restore.c of 3.17 and 4.1).
            if thread.credentials.noNewPrivileges {
                add(
                    .call(number: Prologue.prctl, arguments: [38, 1, 0, 0, 0]), to: &steps[index], of: thread,
                    else: "thread \(thread.tid) had no_new_privs, which CRIU before 4.0 does not set again")
            }
            addSpeculation(of: thread, to: &steps[index])
            if process.personality != 0 {
                let name = "the personality 0x\(String(process.personality, radix: 16))"
                add(
                    .call(number: Prologue.personality, arguments: [UInt64(process.personality)]), to: &steps[index],
                    of: thread,
                    else: "thread \(thread.tid) had \(name), which CRIU does not set again")
            }
        }
        guard let leader = process.threads.first else { return }
        if let space = process.addressSpace.flatMap({ group.addressSpaces[$0] }) { addMemorySettings(of: space, to: &steps[0]) }
        // The leader does what is for all of the process, and the others wait for it.
        var shared: [Prologue.Step] = []
        if let space = process.addressSpace.flatMap({ group.addressSpaces[$0] }) { shared += protectionKeys(of: space, leader) }
        shared += pidfds(in: group)
        if !shared.isEmpty {
            if process.threads.count > 1 { shared.append(.tell) }
            for index in steps.indices { steps[index] += index == 0 ? shared : [.await] }
        }
        for (index, thread) in process.threads.enumerated() where !steps[index].isEmpty {
            let last = Prologue.Step.signalMask(thread.signalMask)
            if may(thread, [last]) { steps[index].append(last) }
        }
        ofThreads = steps.map { $0.isEmpty ? nil : Prologue(steps: $0) }
    }

    /// PR_SET_SPECULATION_CTRL of PR_SPEC_STORE_BYPASS (0) and PR_SPEC_INDIRECT_BRANCH (1), as PR_SPEC_FORCE_DISABLE (8), PR_SPEC_DISABLE_NOEXEC (16) or
    /// PR_SPEC_DISABLE (4); include/uapi/linux/prctl.h.
    private mutating func addSpeculation(of thread: DeadThread, to steps: inout [Prologue.Step]) {
        let speculation = thread.speculation
        let storeBypass: UInt64? =
            speculation.contains(.storeBypassForceDisabled)
            ? 8
            : speculation.contains(.storeBypassDisabledUntilExec) ? 16 : speculation.contains(.storeBypassDisabled) ? 4 : nil
        let indirectBranch: UInt64? =
            speculation.contains(.indirectBranchForceDisabled)
            ? 8 : speculation.contains(.indirectBranchDisabled) ? 4 : nil
        for (kind, control) in [(UInt64(0), storeBypass), (1, indirectBranch)] {
            guard let control else { continue }
            let step = Prologue.Step.call(number: Prologue.prctl, arguments: [53, kind, control, 0, 0])
            // Before 5.16 a seccomp filter brings this with it, and so does CRIU's setting of the filter.
            if control == 8, case .filters = thread.seccomp, !may(thread, [step]) { continue }
            add(
                step, to: &steps, of: thread,
                else: "thread \(thread.tid) had its processor's speculation limited, which CRIU does not set again")
        }
    }

    /// What is for all that the process will map.
    private mutating func addMemorySettings(of space: AddressSpace, to steps: inout [Prologue.Step]) {
        guard let leader = process.threads.first else { return }
        if space.locksFutureMappings {
            let concern = "it locked its future memory (mlockall MCL_FUTURE), which CRIU does not set again"
            // can_do_mlock of mm/mlock.c: CAP_IPC_LOCK, or a limit (RLIMIT_MEMLOCK) that is not 0.
            let isPossible = leader.credentials.effective >> 14 & 1 == 1 || limit(8) != 0
            if isPossible {
                // MCL_FUTURE and MCL_ONFAULT
                add(
                    .call(number: Prologue.mlockall, arguments: [space.locksFutureMappingsOnFault ? 6 : 2]), to: &steps,
                    of: leader, else: concern)
            } else {
                concerns.append(Obstacle(.degraded, pid: process.pid, reason: concern))
            }
        }
        // Bit 1, 3, 5 and 7 of the state, and the commands that set them (include/uapi/linux/membarrier.h). CRIU registers from 3.19 on, from images of its own.
        for (bit, command) in [(UInt32(3), UInt64(1 << 2)), (1, 1 << 4), (5, 1 << 6), (7, 1 << 8)]
        where space.memoryBarriers >> bit & 1 == 1 {
            add(
                .call(number: Prologue.memoryBarrier, arguments: [command, 0, 0]), to: &steps, of: leader,
                else: "it had registered for memory barriers (membarrier), which CRIU before 3.19 does not")
        }
        if space.refusesExecutableGain {
            // PR_SET_MDWE with PR_MDWE_REFUSE_EXEC_GAIN
            add(
                .call(number: Prologue.prctl, arguments: [65, 1, 0, 0, 0]), to: &steps, of: leader,
                else: "its memory could not be made executable later (PR_SET_MDWE), which CRIU does not set again")
        }
    }

    /// Of RLIMIT_*; nil: not read.
    private func limit(_ number: Int) -> UInt64? {
        process.resourceLimits.indices.contains(number) ? process.resourceLimits[number].current : nil
    }

    /// Keys are given out from the lowest on (mm_pkey_alloc, arch/x86/include/asm/pkeys.h): so all up to the highest are taken, and those that were free are given back.
    private mutating func protectionKeys(of space: AddressSpace, _ leader: DeadThread) -> [Prologue.Step] {
        // Memory that may only be executed gets a key of the kernel's own, also when it is mapped again.
        let ofTheKernel = Set(space.mappings.filter { $0.protection == 4 }.map { Int($0.protectionKey) }).subtracting([0])
        let protected = space.mappings.filter { $0.protectionKey != 0 && $0.protection != 4 }
        let taken = (1...15).filter { space.protectionKeys >> UInt16($0) & 1 == 1 }
        guard !protected.isEmpty || !ofTheKernel.isSuperset(of: taken), let highest = taken.last else {
            if let mapping = protected.first {
                refuse("mapping at \(mapping.start): a protection key that nobody has allocated")
            }
            return []
        }
        guard ofTheKernel.isEmpty else {
            refuse("it has protection keys beside memory that may only be executed, whose key is the kernel's own")
            return []
        }
        guard protected.allSatisfy({ taken.contains(Int($0.protectionKey)) }) else {
            refuse("memory has a protection key that nobody has allocated")
            return []
        }
        guard let rights = leader.floatingPoint?.components[9]?.prefix(4), rights.count == 4 else {
            refuse("its rights to its protection keys are not known")
            return []
        }
        for thread in process.threads where thread.floatingPoint?.hasOldKeyRights ?? false {
            let reason =
                "thread \(thread.tid) was on a CPU, and has the rights to protection keys that it had when it last came off one"
            concerns.append(Obstacle(.degraded, pid: process.pid, reason: reason))
        }
        var wanted: [Prologue.Step] = (1...highest).map { _ in .call(number: Prologue.pkeyAlloc, arguments: [0, 0]) }
        wanted += (1...highest).filter { !taken.contains($0) }.map { .call(number: Prologue.pkeyFree, arguments: [UInt64($0)]) }
        wanted += protected.map { mapping in
            .call(
                number: Prologue.pkeyMprotect,
                arguments: [
                    mapping.start.rawValue, mapping.end.rawValue &- mapping.start.rawValue, UInt64(mapping.protection),
                    UInt64(mapping.protectionKey),
                ])
        }
        wanted.append(.keyRights(rights.reversed().reduce(UInt32(0)) { $0 << 8 | UInt32($1) }))
        return allowed(wanted, "set protection keys")
    }

    /// What the leader does for all, if no filter is in the way of it or of those who wait.
    private mutating func allowed(_ wanted: [Prologue.Step], _ what: String) -> [Prologue.Step] {
        let isAllowed = process.threads.enumerated().allSatisfy { index, thread in
            may(thread, index == 0 ? wanted + [.tell] : [.await])
        }
        if isAllowed { return wanted }
        refuse("it cannot \(what) again: a seccomp filter is in the way, or a restartable sequence (rseq)")
        return []
    }

    /// Descriptors of processes.
    private mutating func pidfds(in group: ProtectedGroup) -> [Prologue.Step] {
        guard let table = process.descriptorTable, let descriptors = group.descriptorTables[table]?.descriptors else {
            return []
        }
        let own = descriptors.compactMap { descriptor -> (descriptor: Descriptor, target: Int32, flags: UInt32)? in
            guard let file = group.openFiles[descriptor.file], case .pidfd(let target) = file.kind else { return nil }
            return (descriptor, target, file.flags)
        }
        guard !own.isEmpty else { return [] }
        // pidfd_open takes the lowest number that is free, and dup3 the descriptor's own: both have to be below the limit (RLIMIT_NOFILE).
        let used = Set(descriptors.map(\.number))
        let free = (Int32(0)...Int32.max).first { !used.contains($0) } ?? .max
        let largest = own.map(\.descriptor.number).reduce(free, max)
        guard limit(7).map({ UInt64(clamping: largest) < $0 }) ?? true else {
            refuse("it has descriptors of processes (pidfd), and no more than its limit of descriptors allows (RLIMIT_NOFILE)")
            return []
        }
        if case .stopped = process.state {
            let reason = "its descriptors of processes (pidfd) are opened when it continues: one may be gone by then"
            concerns.append(Obstacle(.degraded, pid: process.pid, reason: reason))
        }
        // Another process would have to wait as well.
        guard group.processes.allSatisfy({ $0.pid == process.pid || $0.descriptorTable != table }) else {
            refuse("it has descriptors of processes (pidfd) in a table that it shares")
            return []
        }
        var wanted: [Prologue.Step] = own.map { item in
            // PIDFD_NONBLOCK is O_NONBLOCK, PIDFD_THREAD O_EXCL.
            .pidfd(
                process: item.target, flags: UInt64(item.flags & 0o4200), descriptor: item.descriptor.number,
                closesOnExec: item.descriptor.closesOnExec)
        }
        let numbers = Set(own.map(\.descriptor.number))
        let files = Set(own.map(\.descriptor.file))
        for instance in descriptors {
            guard case .epoll(let targets) = group.openFiles[instance.file]?.kind,
                process.pid == group.processes.first(where: { has(instance.file, $0, group) })?.pid
            else { continue }
            // A second descriptor of the same instance would add them twice, which fails and does no harm.
            wanted += targets.filter { numbers.contains($0.descriptor) && $0.file.map(files.contains) ?? false }.map {
                .watch($0, instance: instance.number)
            }
        }
        return allowed(wanted, "open descriptors of processes (pidfd)")
    }

    private func has(_ file: FileID, _ process: DeadProcess, _ group: ProtectedGroup) -> Bool {
        process.descriptorTable.flatMap { group.descriptorTables[$0] }?.descriptors.contains { $0.file == file } ?? false
    }

    private mutating func add(
        _ step: Prologue.Step, to steps: inout [Prologue.Step], of thread: DeadThread, else concern: String
    ) {
        if may(thread, [step]) {
            steps.append(step)
        } else {
            concerns.append(Obstacle(.degraded, pid: process.pid, reason: concern))
        }
    }

    private mutating func refuse(_ reason: String) {
        concerns.append(Obstacle(.refused, pid: process.pid, reason: reason))
    }

    /// Whether a thread can make these calls. One that may have been in a restartable sequence has to be found there when it goes on (rseq(2)), which it is not in between.
    private func may(_ thread: DeadThread, _ steps: [Prologue.Step]) -> Bool {
        let isInCall = Int64(bitPattern: thread.registers.origAX) >= 0
        if !isInCall, thread.rseq?.criticalSection?.isNull == false { return false }
        return Prologue(steps: steps).calls.allSatisfy { call in
            SeccompFilterRun.allows(call.number, call.arguments, ip: 0, for: thread)
        }
    }
}
