import GuestMemory
import KernelObjects
import KernelTypes
import ProcessModel

/// The address of a `struct task_struct`.
public typealias TaskAddress = VirtualAddress

extension DeadKernel {
    /// PID_MAX_LIMIT on 64-bit kernels.
    static let taskLimit = 4 << 20

    /// All thread group leaders, `init` first, as the kernel's list of tasks and its table of pids know them.
    ///
    /// The list is the kernel's own way to find all tasks. When it is damaged the table of pids, a structure that shares no
    /// memory with it, still knows the tasks behind the damage.
    public func threadGroups() -> [TaskAddress] {
        guard let first = manifest.symbols.addresses["init_task"] else { return [] }
        var leaders: [TaskAddress] = []
        let fault = reader.forEach(onList: first + layout.task.tasks.offset, link: layout.task.tasks, limit: Self.taskLimit) {
            leaders.append($0)
        }
        guard let fault else { return leaders }
        gaps.append(Gap(object: "task list", field: "task_struct.tasks", fault: fault))
        var seen = Set(leaders)
        for leader in leadersInPIDTable() where seen.insert(leader).inserted { leaders.append(leader) }
        return leaders
    }

    /// Leaders found through `init_pid_ns.idr` and `struct pid.tasks[PIDTYPE_TGID]`.
    private func leadersInPIDTable() -> [TaskAddress] {
        guard let namespace = manifest.symbols.addresses["init_pid_ns"] else { return [] }
        var leaders: [TaskAddress] = []
        let table = namespace + layout.pidNamespaceIDR.offset
        let fault = reader.forEach(inXArray: table, layout: layout.xarray, limit: Self.taskLimit) { entry in
            // PIDTYPE_TGID is 1; the first of the list is the leader.
            let head = entry.pointer + layout.pidTasks.element(1).offset
            guard let node = try? reader.memory.pointer(at: head), !node.isNull else { return }
            leaders.append(reader.container(of: node, layout.taskPIDLinks.element(1)))
        }
        if let fault { gaps.append(Gap(object: "pid table", field: "init_pid_ns.idr", fault: fault)) }
        return leaders
    }

    /// The threads of a process, its leader first, without those that have already exited.
    /// - Throws: when the list of threads is damaged: a process is whole or it is not restored.
    func threads(of leader: TaskAddress) throws(MemoryFault) -> [TaskAddress] {
        let signal = try reader.pointer(layout.task.signal, of: leader)
        var threads: [TaskAddress] = []
        let head = signal + layout.signal.threadHead.offset
        if let fault = reader.forEach(
            onList: head, link: layout.task.threadNode, limit: Self.taskLimit, { threads.append($0) })
        {
            throw fault
        }
        var alive: [TaskAddress] = []
        for thread in threads {
            if thread == leader {
                alive.append(thread)
            } else if try reader.value(layout.task.exitState, of: thread) == 0, try !isEnding(thread) {
                alive.append(thread)
            }
        }
        guard alive.contains(leader) else { throw MemoryFault(.damaged("thread group without its leader"), at: leader) }
        return [leader] + alive.filter { $0 != leader }
    }

    /// A process id of the guest's initial namespace.
    func pid(ofStructPID address: VirtualAddress) throws(MemoryFault) -> Int32 {
        if address.isNull { return 0 }
        return try reader.int32(layout.signal.pidNumber, of: address + layout.signal.pidNumbers.offset)
    }
}
