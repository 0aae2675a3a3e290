import GuestMemory
import ProcessModel

/// Bytes that a saved page gets in place of what the dead memory had.
struct MemoryPatch: Sendable, Hashable {
    var address: VirtualAddress
    var bytes: [UInt8]
}

/// A system call that is made anew with other arguments, from a stub, so that the program sees neither a changed register nor changed memory.
struct ResumedCall: Sendable, Hashable {
    /// The register that gets another value for the duration of the call.
    enum Argument: Sendable, Hashable {
        case di, si, dx, r10
    }

    enum Change: Sendable, Hashable {
        /// The number of milliseconds that remain of a time limit.
        case milliseconds(UInt64, Argument)
        /// The address of a `struct timespec` of the nanoseconds that remain.
        case timespec(nanoseconds: UInt64, Argument)
        /// The rest of the buffer in si, of dx bytes: this many are done. The result counts them.
        case rest(moved: UInt64)
        /// The flags of an open whose file it has made: without O_EXCL.
        case flags(UInt64, Argument)
    }

    var number: UInt64
    var change: Change
}

/// The registers a thread goes on with, and what else has to be true for that.
///
/// A thread caught in a system call has -ENOSYS in ax while the call runs (entry_64.S), the kernel's restart code when a signal or a stop ended it, or its result.
/// CRIU hands the registers to sigreturn as they are and restarts nothing, so the restarted form is made here.
struct RestartedThread: Sendable, Hashable {
    var registers: GeneralRegisters
    var patches: [MemoryPatch] = []
    var resumedCall: ResumedCall?
    /// What is not exact about it, for the process's reasons.
    var concern: String?
    private let handler: SignalAction?

    private static let interrupted: Int64 = -4
    private static let inputOutputError: Int64 = -5
    private static let notImplemented: Int64 = -38
    private static let restartCodes: ClosedRange<Int64> = -514 ... -512
    /// ERESTARTSYS and ERESTARTNOHAND.
    private static let restartSystemCode: Int64 = -512
    private static let noHandlerCode: Int64 = -514
    private static let restartBlock: Int64 = -516

    /// - Parameter handler: of a signal that the thread takes before it does anything else.
    init(_ thread: DeadThread, handler: SignalAction? = nil) {
        registers = thread.registers
        self.handler = handler
        if let number = thread.unwrittenThreadID {
            patches.append(MemoryPatch(address: number.address, bytes: number.number.littleEndianBytes))
        }
        let result = Int64(bitPattern: thread.registers.ax)
        // -1 marks an interrupt or exception from user mode: nothing to restart.
        guard Int64(bitPattern: thread.registers.origAX) >= 0 else { return }
        if thread.interruptedCall.causedPanic, result == Self.notImplemented || Self.restartCodes.contains(result) {
            // Made again it would only bring the next kernel down.
            fail(Self.inputOutputError)
            return
        }
        switch result {
        case Self.notImplemented: resume(thread.interruptedCall, number: thread.registers.origAX, wasInterrupted: false)
        case Self.noHandlerCode where handler != nil, Self.restartBlock where handler != nil: fail(Self.interrupted)
        case Self.restartSystemCode where isEndedByHandler: fail(Self.interrupted)
        case Self.restartCodes: restart(number: thread.registers.origAX)
        case Self.restartBlock: resumeFromRestartBlock(thread.interruptedCall)
        default: registers.origAX = .max
        }
    }

    /// Whether a call that would be made again is not, for the handler was set without SA_RESTART (handle_signal, arch/x86/kernel/signal.c).
    private var isEndedByHandler: Bool { handler.map { $0.flags & 0x1000_0000 == 0 } ?? false }

    private mutating func fail(_ code: Int64) {
        registers.ax = UInt64(bitPattern: code)
        registers.origAX = .max
    }

    /// Back onto the two bytes of the `syscall` instruction.
    private mutating func restart(number: UInt64) {
        registers.ip = registers.ip &- 2
        registers.ax = number
        registers.origAX = .max
    }

    /// The call ended for a signal or a stop and left its continuation in the restart block.
    private mutating func resumeFromRestartBlock(_ call: InterruptedCall) {
        var number = registers.origAX
        if number == SystemCallNumber.restartSystemCall {
            switch call.restartFunction {
            case .nanosleep(let remainder):
                // Both calls leave the same function; the place of the remainder's pointer tells them apart.
                number = remainder.rawValue == registers.si ? SystemCallNumber.nanosleep : SystemCallNumber.clockNanosleep
            case .poll: number = SystemCallNumber.poll
            case .futex: number = SystemCallNumber.futex
            case .other, nil:
                fail(Self.interrupted)
                return
            }
        }
        resume(call, number: number, wasInterrupted: true)
    }

    /// The call was still running, or goes on from its restart block.
    private mutating func resume(_ call: InterruptedCall, number: UInt64, wasInterrupted: Bool) {
        if number == SystemCallNumber.restartSystemCall {
            resumeFromRestartBlock(call)
            return
        }
        if let moved = call.transferredBytes, moved > 0, !wasInterrupted {
            finishTransfer(number: number, moved: moved)
            return
        }
        if let progress = call.progress, !wasInterrupted {
            goOn(from: progress, number: number)
            return
        }
        if SystemCallNumber.untilSignal.contains(number)
            ? handler != nil : SystemCallNumber.waiting.contains(number) && isEndedByHandler
        {
            fail(Self.interrupted)
            return
        }
        if SystemCallNumber.systemVWaits.contains(number), !call.isAsleep, !wasInterrupted {
            concern = "a semaphore or message call was at work; it is told of an interruption, but may have been done"
            fail(Self.interrupted)
            return
        }
        guard SystemCallNumber.restartable.contains(number) || SystemCallNumber.systemVWaits.contains(number) else {
            concern = "system call \(number) was at work; it is told of an interruption, but may have been done"
            fail(Self.interrupted)
            return
        }
        guard let timeout = timeout(of: number) else {
            restart(number: number)
            return
        }
        guard let remaining = call.remainingNanoseconds else {
            concern = "a call was waiting with a time limit whose rest could not be read; the limit starts again"
            restart(number: number)
            return
        }
        switch timeout {
        case .argument(let argument, let milliseconds):
            resumedCall = ResumedCall(
                number: number,
                change: milliseconds
                    ? .milliseconds(Self.milliseconds(remaining), argument) : .timespec(nanoseconds: remaining, argument))
        case .userMemory(let address, let fraction):
            // select, pselect6 and ppoll write the remaining time back themselves when they are interrupted.
            let bytes =
                (remaining / 1_000_000_000).littleEndianBytes
                + (remaining % 1_000_000_000 / (1_000_000_000 / fraction)).littleEndianBytes
            patches.append(MemoryPatch(address: address, bytes: bytes))
            restart(number: number)
        }
    }

    /// A call that does something once, and may have done so.
    private mutating func goOn(from progress: InterruptedCall.Progress, number: UInt64) {
        switch progress {
        case .pending: restart(number: number)
        case .complete(let result):
            registers.ax = result
            registers.origAX = .max
            noteStarted(result, number: number)
        case .fileCreated:
            let flags = number == SystemCallNumber.open ? registers.si : registers.dx
            resumedCall = ResumedCall(
                number: number,
                change: .flags(flags & ~SystemCallNumber.exclusive, number == SystemCallNumber.open ? .si : .dx))
        case .uncertain where SystemCallNumber.starting.contains(number):
            concern = "system call \(number) was at work; it is told of an interruption, but may have started a process"
            fail(Self.interrupted)
        case .uncertain:
            concern = "system call \(number) was at work; it is made again, but may have been done"
            restart(number: number)
        }
    }

    /// clone writes the number of what it has started where the caller wants it (CLONE_PARENT_SETTID), before it returns.
    private mutating func noteStarted(_ result: UInt64, number: UInt64) {
        switch number {
        case SystemCallNumber.clone where registers.di & SystemCallNumber.writesToParent != 0:
            patches.append(
                MemoryPatch(
                    address: VirtualAddress(rawValue: registers.dx), bytes: UInt32(truncatingIfNeeded: result).littleEndianBytes
                )
            )
        case SystemCallNumber.clone3:
            concern =
                "a process or thread was being started; where clone3 was to write its number or descriptor may have nothing"
        default: break
        }
    }

    /// Rounded up, so that nothing wakes early; within the range of the int that the call takes.
    private static func milliseconds(_ nanoseconds: UInt64) -> UInt64 {
        min(nanoseconds / 1_000_000 + (nanoseconds % 1_000_000 == 0 ? 0 : 1), UInt64(Int32.max))
    }

    /// A read or write that has moved a part goes on with the rest.
    private mutating func finishTransfer(number: UInt64, moved: UInt64) {
        let hasOneBuffer = [
            SystemCallNumber.read, SystemCallNumber.write, SystemCallNumber.sendto, SystemCallNumber.recvfrom,
        ].contains(number)
        if hasOneBuffer, moved < registers.dx {
            resumedCall = ResumedCall(number: number, change: .rest(moved: moved))
            return
        }
        // As after a signal in the middle of a transfer: the caller is told how much was done.
        if !hasOneBuffer {
            concern =
                "a read or write of several buffers was under way; the program is told of the \(moved) bytes that were done"
        }
        registers.ax = moved
        registers.origAX = .max
    }

    private enum Timeout {
        /// A relative time in a register, or behind a pointer in it.
        case argument(ResumedCall.Argument, milliseconds: Bool)
        /// A relative time in user memory that the call updates; the second field counts `fraction` to the second.
        case userMemory(VirtualAddress, fraction: UInt64)
    }

    /// The relative time limit of a call; nil: none, endless, or absolute, which stays right on its own.
    private func timeout(of number: UInt64) -> Timeout? {
        switch number {
        case SystemCallNumber.nanosleep: return .argument(.di, milliseconds: false)
        case SystemCallNumber.clockNanosleep:
            // TIMER_ABSTIME
            return registers.si & 1 == 1 ? nil : .argument(.dx, milliseconds: false)
        case SystemCallNumber.futex:
            // Only FUTEX_WAIT (0) has a relative timeout; FUTEX_PRIVATE_FLAG 128 and FUTEX_CLOCK_REALTIME 256 are no part of the command.
            return registers.si & 0x7f == 0 && registers.r10 != 0 ? .argument(.r10, milliseconds: false) : nil
        case SystemCallNumber.poll:
            return Int32(truncatingIfNeeded: registers.dx) > 0 ? .argument(.dx, milliseconds: true) : nil
        case SystemCallNumber.epollWait, SystemCallNumber.epollPwait:
            return Int32(truncatingIfNeeded: registers.r10) > 0 ? .argument(.r10, milliseconds: true) : nil
        case SystemCallNumber.epollPwait2: return registers.r10 != 0 ? .argument(.r10, milliseconds: false) : nil
        case SystemCallNumber.semtimedop: return registers.r10 != 0 ? .argument(.r10, milliseconds: false) : nil
        case SystemCallNumber.rtSigtimedwait: return registers.dx != 0 ? .argument(.dx, milliseconds: false) : nil
        case SystemCallNumber.select: return memory(registers.r8, fraction: 1_000_000)
        case SystemCallNumber.pselect6: return memory(registers.r8, fraction: 1_000_000_000)
        case SystemCallNumber.ppoll: return memory(registers.dx, fraction: 1_000_000_000)
        default: return nil
        }
    }

    private func memory(_ address: UInt64, fraction: UInt64) -> Timeout? {
        address == 0 ? nil : .userMemory(VirtualAddress(rawValue: address), fraction: fraction)
    }
}
