import GuestMemory
import ProcessModel

/// `core_entry` and what it is made of: images/core.proto, creds.proto, sa.proto, timer.proto, siginfo.proto, rseq.proto.
struct CoreImage {
    /// What a thread goes on with.
    var registers: GeneralRegisters
    var thread: DeadThread
    var seccomp: SeccompImage.Mode?

    /// CORE_ENTRY__MARCH X86_64.
    private static let machine: UInt32 = 1

    /// The image of a thread that is not the leader.
    func message() -> ProtobufMessage {
        ProtobufMessage { core in
            core.unsigned(1, Self.machine)
            core.message(2, threadInformation)
            core.message(5, threadCore)
        }
    }

    /// The image of the leader, which holds what belongs to the process too.
    func leaderMessage(of process: DeadProcess, actions: SignalActions, identifiers: ProtobufMessage, cgroupSet: UInt32)
        -> ProtobufMessage
    {
        ProtobufMessage { core in
            core.unsigned(1, Self.machine)
            core.message(2, threadInformation)
            core.message(3, Self.task(process, leader: thread, actions: actions, cgroupSet: cgroupSet))
            core.message(4, identifiers)
            core.message(5, threadCore)
        }
    }

    /// The image of a zombie: its exit code and name.
    static func zombieMessage(of process: DeadProcess, exitCode: Int32) -> ProtobufMessage {
        ProtobufMessage { core in
            core.unsigned(1, machine)
            core.message(3) { task in
                // TASK_DEAD
                task.unsigned(1, UInt32(2))
                task.unsigned(2, UInt32(bitPattern: exitCode))
                task.unsigned(3, process.personality)
                task.unsigned(4, process.flags)
                task.unsigned(5, UInt64(0))
                task.data(6, process.command.bytes)
            }
        }
    }

    private var threadInformation: ProtobufMessage {
        RegistersImage.message(
            registers, thread.floatingPoint ?? FloatingPointState(legacy: [], presentComponents: 0),
            clearTID: thread.clearChildTID.rawValue)
    }

    /// `thread_core_entry`.
    private var threadCore: ProtobufMessage {
        ProtobufMessage { core in
            core.unsigned(1, thread.robustList.rawValue)
            // sizeof(struct robust_list_head), or 0 when there is none.
            core.unsigned(2, UInt32(thread.robustList.isNull ? 0 : 24))
            core.zigzag(3, thread.scheduling.nice)
            core.unsigned(4, thread.scheduling.policy)
            core.unsigned(5, thread.scheduling.realtimePriority)
            core.unsigned(6, thread.signalMask)
            core.message(7) { stack in
                stack.unsigned(1, thread.alternateStack?.base.rawValue ?? 0)
                stack.unsigned(2, thread.alternateStack?.size ?? 0)
                // SS_DISABLE when there is none; SS_ONSTACK is worked out by the kernel from the stack pointer.
                stack.unsigned(3, thread.alternateStack.map { $0.flags & ~1 } ?? 2)
            }
            core.unsigned(8, UInt32(bitPattern: thread.parentDeathSignal))
            core.message(9, Self.queue(thread.pendingSignals))
            core.message(10, Self.credentials(thread.credentials))
            switch seccomp {
            case .strict: core.unsigned(11, UInt32(1))
            case .filters(let first):
                core.unsigned(11, UInt32(2))
                core.unsigned(12, first)
            case nil: break
            }
            core.data(13, thread.command.bytes)
            if let rseq = thread.rseq {
                core.message(15) { entry in
                    entry.unsigned(1, rseq.address.rawValue)
                    entry.unsigned(2, rseq.size)
                    entry.unsigned(3, rseq.signature)
                    if let section = rseq.criticalSection, !section.isNull { entry.unsigned(4, section.rawValue) }
                }
            }
        }
    }

    /// `task_core_entry`.
    private static func task(_ process: DeadProcess, leader: DeadThread, actions: SignalActions, cgroupSet: UInt32)
        -> ProtobufMessage
    {
        let pending = process.pendingSignals + leader.pendingSignals
        // A pending SIGSTOP hangs the restore: the process is stopped at once instead.
        let stops = pending.contains { $0.signal == Self.stopSignal }
        return ProtobufMessage { task in
            var state: UInt32 = stops ? 3 : 1
            if case .stopped = process.state { state = 3 }
            task.unsigned(1, state)
            task.unsigned(2, UInt32(0))
            task.unsigned(3, process.personality)
            task.unsigned(4, process.flags)
            task.unsigned(5, leader.signalMask)
            task.data(6, process.command.bytes)
            task.message(7, TimerImage.timers(of: process))
            task.message(8) { limits in
                for limit in process.resourceLimits {
                    limits.message(1) { entry in
                        entry.unsigned(1, limit.current)
                        entry.unsigned(2, limit.maximum)
                    }
                }
            }
            task.unsigned(9, cgroupSet)
            task.message(10, queue(process.pendingSignals))
            if let login = process.loginUID { task.unsigned(13, login) }
            task.signed(14, process.oomScoreAdjustment)
            for signal in 1...64 where signal != 9 && signal != Int(stopSignal) {
                task.message(
                    15, action(actions.actions.indices.contains(signal - 1) ? actions.actions[signal - 1] : SignalAction()))
            }
            task.flag(18, process.isChildSubreaper)
            if case .stopped(let signal) = process.state {
                // Known since CRIU 4.0; before, SIGSTOP is used.
                task.unsigned(21, UInt32(bitPattern: signal))
            }
        }
    }

    private static let stopSignal: Int32 = 19

    /// `signal_queue_entry`.
    private static func queue(_ signals: [PendingSignal]) -> ProtobufMessage {
        ProtobufMessage { queue in
            for signal in signals where signal.signal != stopSignal {
                queue.message(1) { entry in
                    entry.data(1, Array(signal.info.prefix(128)) + Array(repeating: 0, count: max(0, 128 - signal.info.count)))
                }
            }
        }
    }

    /// `sa_entry`.
    private static func action(_ action: SignalAction) -> ProtobufMessage {
        ProtobufMessage { entry in
            entry.unsigned(1, action.handler)
            entry.unsigned(2, action.flags)
            entry.unsigned(3, action.restorer.rawValue)
            entry.unsigned(4, action.mask)
        }
    }

    /// `creds_entry`; no_new_privs and the ambient set are known since CRIU 4.0 and 4.2.
    private static func credentials(_ credentials: Credentials) -> ProtobufMessage {
        func words(_ set: UInt64) -> [UInt32] { [UInt32(truncatingIfNeeded: set), UInt32(truncatingIfNeeded: set >> 32)] }
        return ProtobufMessage { entry in
            let identities = [
                credentials.uid, credentials.gid, credentials.effectiveUID, credentials.effectiveGID, credentials.savedUID,
                credentials.savedGID, credentials.filesystemUID, credentials.filesystemGID,
            ]
            for (index, identity) in identities.enumerated() { entry.unsigned(UInt32(index + 1), identity) }
            entry.repeated(9, words(credentials.inheritable))
            entry.repeated(10, words(credentials.permitted))
            entry.repeated(11, words(credentials.effective))
            entry.repeated(12, words(credentials.bounding))
            entry.unsigned(13, credentials.secureBits)
            entry.repeated(14, credentials.groups)
            if credentials.noNewPrivileges { entry.unsigned(18, UInt32(1)) }
            if credentials.ambient != 0 { entry.repeated(19, words(credentials.ambient)) }
        }
    }
}
