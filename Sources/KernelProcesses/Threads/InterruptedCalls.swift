import GuestMemory
import KernelObjects
import KernelTypes
import ProcessModel

extension DeadKernel {
    /// What is known about the system call that a thread is in, beyond its registers.
    func interruptedCall(of task: TaskAddress, registers: GeneralRegisters, clocks: GuestClocks) throws(MemoryFault)
        -> InterruptedCall
    {
        var call = InterruptedCall()
        call.causedPanic = task == panickedTask
        call.stage = try stage(of: task)
        call.filesInHand = try filesInHand(of: task, registers: registers)
        // -ENOSYS: the call is at work.
        if registers.ax == UInt64(bitPattern: -38) {
            call.transferredBytes = try transferredBytes(of: task, registers: registers, stage: call.stage)
            call.progress = try progress(of: task, registers: registers, stage: call.stage)
        }
        // -ERESTART_RESTARTBLOCK, or restart_syscall itself.
        if registers.ax == UInt64(bitPattern: -516) || registers.origAX == 219 {
            call.restartFunction = try restartFunction(of: task)
            call.remainingNanoseconds = try restartRemaining(of: task, function: call.restartFunction, clocks: clocks)
        }
        if registers.origAX != .max, let left = try sleeperRemaining(of: task, clocks: clocks) {
            call.remainingNanoseconds = left
        }
        return call
    }

    private func stage(of task: TaskAddress) throws(MemoryFault) -> InterruptedCall.Stage {
        if try cpuNumber(of: task) != nil { return .onCPU }
        // TASK_RUNNING is 0. A task sets its state before it looks a last time and leaves the CPU.
        if try reader.value(layout.task.state, of: task) != 0 { return .asleep }
        return try wasPreempted(task) ? .preempted : .woken
    }

    /// What leaves the CPU in the middle of the kernel's work, by the wish of another task (kernel/sched/core.c). A task that waits, and
    /// is runnable because what it waits for has come, left it through `schedule` itself.
    private static let preemptions = [
        "preempt_schedule", "preempt_schedule_common", "preempt_schedule_irq", "preempt_schedule_notrace", "__cond_resched",
        "_cond_resched",
    ]

    /// Whether a task that was switched out had to leave the CPU: all of them go through `__schedule`, and who called it is the first
    /// of these functions on the kernel stack.
    private func wasPreempted(_ task: TaskAddress) throws(MemoryFault) -> Bool {
        guard let stack = try liveStack(of: task) else { return false }
        let symbols = manifest.symbols
        for at in stride(from: 0, to: stack.bytes.count, by: 8) {
            let word = VirtualAddress(stack.word(at))
            if symbols.contains(word, in: "schedule") { return false }
            if Self.preemptions.contains(where: { symbols.contains(word, in: $0) }) { return true }
        }
        return false
    }

    private func restartFunction(of task: TaskAddress) throws(MemoryFault) -> InterruptedCall.RestartFunction? {
        let function = try reader.pointer(layout.task.restartFunction, of: task)
        let names = manifest.symbols.addresses
        switch function {
        case names["hrtimer_nanosleep_restart"]:
            return .nanosleep(remainderAddress: try reader.pointer(layout.task.restartRemainder, of: task))
        case names["do_restart_poll"]: return .poll
        case names["futex_wait_restart"]: return .futex
        case names["posix_cpu_nsleep_restart"]: return .other("posix_cpu_nsleep_restart")
        default: return function.isNull ? nil : .other("\(function)")
        }
    }

    /// What remained when a call was already on its way to be restarted: its restart block holds the absolute expiry.
    private func restartRemaining(
        of task: TaskAddress, function: InterruptedCall.RestartFunction?, clocks: GuestClocks
    ) throws(MemoryFault) -> UInt64? {
        let now = clocks.monotonicNanoseconds
        let expires: UInt64
        switch function {
        case .nanosleep: expires = try reader.value(layout.task.restartExpires, of: task)
        case .futex:
            guard let field = layout.task.restartFutexTime else { return nil }
            expires = try reader.value(field, of: task)
        case .poll:
            guard let seconds = layout.task.restartPollSeconds, let part = layout.task.restartPollNanoseconds else {
                return nil
            }
            expires = try reader.value(seconds, of: task) &* 1_000_000_000 &+ reader.value(part, of: task)
        default: return nil
        }
        return expires > now ? expires - now : 0
    }

    /// The time left of the `hrtimer_sleeper` that a sleeping call keeps on its kernel stack.
    ///
    /// nanosleep, poll, select, epoll_wait, futex and sigtimedwait all sleep with one; it is recognised by its two pointers, to
    /// this very task and to `hrtimer_wakeup`, and only the live part of the stack is looked at.
    private func sleeperRemaining(of task: TaskAddress, clocks: GuestClocks) throws(MemoryFault) -> UInt64? {
        guard let wakeup = manifest.symbols.addresses["hrtimer_wakeup"], let stack = try liveStack(of: task) else { return nil }
        let fields = layout.timers
        let functionAt = fields.sleeperTimer.offset + fields.function.offset
        var found: UInt64?
        for at in stride(from: 0, to: stack.bytes.count, by: 8) where stack.word(at + functionAt) == wakeup.rawValue {
            let sleeper = stack.word(at + fields.sleeperTask.offset)
            if sleeper == task.rawValue {
                // A timer that a signal has taken off its queue keeps its expiry.
                let timer = stack.start + at + fields.sleeperTimer.offset
                if let left = try remaining(ofTimer: timer, clocks: clocks, onlyIfQueued: false) { return left }
            } else if sleeper == 0 {
                // hrtimer_wakeup has fired and cleared the pointer; the task had not run yet.
                found = 0
            }
        }
        return found
    }
}
