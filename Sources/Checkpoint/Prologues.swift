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
            if process.personality != 0 {
                let name = "the personality 0x\(String(process.personality, radix: 16))"
                add(
                    .call(number: Prologue.personality, arguments: [UInt64(process.personality)]), to: &steps[index],
                    of: thread,
                    else: "thread \(thread.tid) had \(name), which CRIU does not set again")
            }
        }
        guard let leader = process.threads.first else { return }
        if process.addressSpace.flatMap({ group.addressSpaces[$0] })?.locksFutureMappings == true {
            // MCL_FUTURE
            add(
                .call(number: Prologue.mlockall, arguments: [2]), to: &steps[0], of: leader,
                else: "it locked its future memory (mlockall MCL_FUTURE), which CRIU does not set again")
        }
        // The leader does what is for all of the process, and the others wait for it.
        var shared: [Prologue.Step] = []
        if let space = process.addressSpace.flatMap({ group.addressSpaces[$0] }) { shared += protectionKeys(of: space, leader) }
        shared += pidfds(in: group)
        if !shared.isEmpty {
            if process.threads.count > 1 { shared.append(.tell) }
            for index in steps.indices { steps[index] += index == 0 ? shared : [.await] }
        }
        ofThreads = steps.map { $0.isEmpty ? nil : Prologue(steps: $0) }
    }

    /// Keys are given out from the lowest on (mm_pkey_alloc, arch/x86/include/asm/pkeys.h): so all up to the highest are taken, and those that were free are given back.
    private mutating func protectionKeys(of space: AddressSpace, _ leader: DeadThread) -> [Prologue.Step] {
        // Memory that may only be executed gets a key of the kernel's own, also when it is mapped again.
        let isKernels = space.mappings.contains { $0.protectionKey != 0 && $0.protection == 4 }
        let protected = space.mappings.filter { $0.protectionKey != 0 && $0.protection != 4 }
        let taken = (1...15).filter { space.protectionKeys >> UInt16($0) & 1 == 1 }
        guard !protected.isEmpty || !isKernels && !taken.isEmpty, let highest = taken.last else {
            if let mapping = protected.first {
                refuse("mapping at \(mapping.start): a protection key that nobody has allocated")
            }
            return []
        }
        guard !isKernels else {
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
        // Another process would have to wait as well.
        guard group.processes.allSatisfy({ $0.pid == process.pid || $0.descriptorTable != table }) else {
            refuse("it has descriptors of processes (pidfd) in a table that it shares")
            return []
        }
        var wanted: [Prologue.Step] = own.map { item in
            // PIDFD_NONBLOCK is O_NONBLOCK.
            .pidfd(
                process: item.target, flags: UInt64(item.flags & 0o4000), descriptor: item.descriptor.number,
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
