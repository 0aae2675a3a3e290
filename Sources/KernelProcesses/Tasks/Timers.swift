import GuestMemory
import KernelObjects
import KernelTypes
import ProcessModel

/// `struct hrtimer`, `struct hrtimer_sleeper` (include/linux/hrtimer.h) and `struct k_itimer` (include/linux/posix-timers.h).
struct TimerLayout: Sendable {
    let expires: Field
    let function: Field
    let state: Field
    let base: Field
    let baseClock: Field
    let sleeperTimer: Field
    let sleeperTask: Field
    let sleeperSize: Int

    let posixList: Field
    let posixID, posixClock, posixNotify, posixOverrun, posixInterval: Field
    let posixQueue: Field
    let posixPID: Field
    let posixTimer: Field
    /// `it.cpu.node.expires`, in the clock's own time; 0: not armed.
    let posixProcessorTime: Field
    let queueSignal: Field
    let queueValue: Field

    init(_ types: TypeTable) throws(KernelError) {
        let timer = try types.structure("hrtimer")
        expires = try timer.field("node.expires")
        function = try timer.field("function")
        state = try timer.field(anyOf: "state", "is_queued")
        base = try timer.field("base")
        baseClock = try types.structure("hrtimer_clock_base").field("clockid")
        let sleeper = try types.structure("hrtimer_sleeper")
        sleeperTimer = try sleeper.field("timer")
        sleeperTask = try sleeper.field("task")
        sleeperSize = sleeper.size

        let posix = try types.structure("k_itimer")
        posixList = try posix.field("list")
        posixID = try posix.field("it_id")
        posixClock = try posix.field("it_clock")
        posixNotify = try posix.field("it_sigev_notify")
        posixOverrun = try posix.field("it_overrun")
        posixInterval = try posix.field("it_interval")
        posixQueue = try posix.field("sigq")
        posixPID = try posix.field("it_pid")
        posixTimer = try posix.field("it.real.timer")
        posixProcessorTime = try posix.field("it.cpu.node.expires")
        let info = try types.structure("kernel_siginfo")
        // Embedded since 6.13 (commit 513793bc6ab3), a pointer before.
        let queueInfo: Field
        if let embedded = posix.optional("sigq.info") {
            queueInfo = embedded
        } else {
            queueInfo = try types.structure("sigqueue").field("info")
        }
        queueSignal = Field(offset: queueInfo.offset + (try info.field("si_signo").offset), size: 4)
        let value = try info.field("_sifields._rt._sigval")
        queueValue = Field(offset: queueInfo.offset + value.offset, size: 8)
    }
}

extension DeadKernel {
    /// Nanoseconds until a high-resolution timer fires: 0 when it is overdue, nil when it is not armed.
    func remaining(ofTimer timer: VirtualAddress, clocks: GuestClocks, onlyIfQueued: Bool = true) throws(MemoryFault) -> UInt64?
    {
        if onlyIfQueued, try reader.value(layout.timers.state, of: timer) & 1 == 0 { return nil }
        let expires = try reader.value(layout.timers.expires, of: timer)
        let base = try reader.pointer(layout.timers.base, of: timer)
        let clock = try reader.uint32(layout.timers.baseClock, of: base)
        let now =
            switch clock {
            // CLOCK_REALTIME and CLOCK_TAI, whose offset of some seconds is nowhere in use without ntpd.
            case 0, 11: clocks.realtimeNanoseconds
            case 7: clocks.boottimeNanoseconds
            default: clocks.monotonicNanoseconds
            }
        guard expires < UInt64(Int64.max) else { return nil }
        return expires > now ? expires - now : 0
    }

    /// The three timers of `setitimer`.
    func intervalTimers(ofSignal signal: VirtualAddress, clocks: GuestClocks) throws(MemoryFault) -> IntervalTimers {
        let fields = layout.signal
        var result = IntervalTimers()
        result.real.intervalNanoseconds = try reader.value(fields.realInterval, of: signal)
        if let left = try remaining(ofTimer: signal + fields.realTimer.offset, clocks: clocks) {
            result.real.remainingNanoseconds = max(left, 1)
        }
        // They count the process's own time, which stood still.
        func cpuTimer(_ clock: ProcessorClock) throws(MemoryFault) -> IntervalTimer {
            let timer = signal + fields.cpuTimers.element(clock.rawValue).offset
            let expires = try reader.value(fields.cpuTimerExpires, of: timer)
            return IntervalTimer(
                intervalNanoseconds: try reader.value(fields.cpuTimerInterval, of: timer),
                remainingNanoseconds: try remaining(until: expires, on: clock, ofSignal: signal))
        }
        result.profiling = try cpuTimer(.profiling)
        result.virtual = try cpuTimer(.virtual)
        return result
    }

    /// CPUCLOCK_PROF, CPUCLOCK_VIRT and CPUCLOCK_SCHED (include/linux/posix-timers.h): what of a thread group's time is counted.
    private enum ProcessorClock: Int {
        case profiling, virtual, run
    }

    /// Nanoseconds until a thread group has used as much of its time: at least 1, for what is overdue fires at the next tick; 0 for a timer that is not armed.
    private func remaining(until expires: UInt64, on clock: ProcessorClock, ofSignal signal: VirtualAddress) throws(MemoryFault)
        -> UInt64
    {
        if expires == 0 { return 0 }
        let fields = layout.signal
        let used =
            switch clock {
            case .profiling:
                try reader.value(fields.groupUserTime, of: signal) &+ reader.value(fields.groupSystemTime, of: signal)
            case .virtual: try reader.value(fields.groupUserTime, of: signal)
            case .run: try reader.value(fields.groupRunTime, of: signal)
            }
        return expires > used ? expires - used : 1
    }

    /// SIGEV_NONE
    private static let notifiesNobody: Int32 = 1

    /// The timers of `timer_create`.
    func posixTimers(ofSignal signal: VirtualAddress, clocks: GuestClocks) throws(MemoryFault) -> [PosixTimer] {
        let fields = layout.timers
        let head = signal + layout.signal.posixTimers.offset
        var addresses: [VirtualAddress] = []
        // A list_head up to 6.14, an hlist_head since (commit 5f2909c6cd13); the field's size tells.
        let fault =
            layout.signal.posixTimers.size == 8
            ? reader.forEach(onHashList: head, link: fields.posixList, limit: 65_536) { addresses.append($0) }
            : reader.forEach(onList: head, link: fields.posixList, limit: 65_536) { addresses.append($0) }
        if let fault { throw fault }
        var result: [PosixTimer] = []
        for timer in addresses {
            let queue =
                fields.posixQueue.size == 8 ? try reader.pointer(fields.posixQueue, of: timer) : timer
            let notify = try reader.int32(fields.posixNotify, of: timer)
            let target = try reader.pointer(fields.posixPID, of: timer)
            // SIGEV_THREAD_ID
            let thread = notify & 4 != 0 ? try pid(ofStructPID: target) : nil
            let clock = try reader.int32(fields.posixClock, of: timer)
            let left: UInt64?
            switch clock {
            case PosixTimer.processClock:
                left = try remaining(until: reader.value(fields.posixProcessorTime, of: timer), on: .run, ofSignal: signal)
            case ..<0:
                // Of one thread, or of another process: whether it is armed is all that is of use.
                left = try reader.value(fields.posixProcessorTime, of: timer) == 0 ? nil : 1
            default:
                // A timer that tells nobody is never queued (common_hrtimer_arm of kernel/time/posix-timers.c).
                let isSilent = notify & ~4 == Self.notifiesNobody
                let found = try remaining(ofTimer: timer + fields.posixTimer.offset, clocks: clocks, onlyIfQueued: !isSilent)
                left = isSilent && found == 0 ? nil : found
            }
            result.append(
                PosixTimer(
                    id: try reader.int32(fields.posixID, of: timer), clock: clock,
                    signal: try reader.int32(fields.queueSignal, of: queue), notification: notify & ~4,
                    value: try reader.value(fields.queueValue, of: queue),
                    overrun: try reader.signed(fields.posixOverrun, of: timer),
                    intervalNanoseconds: try reader.value(fields.posixInterval, of: timer),
                    remainingNanoseconds: left.map { max($0, 1) } ?? 0, threadID: thread))
        }
        return result
    }
}
