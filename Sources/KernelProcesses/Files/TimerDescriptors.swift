import GuestMemory
import KernelObjects
import KernelTypes
import ProcessModel

/// `struct timerfd_ctx` (fs/timerfd.c) with its `struct hrtimer` or `struct alarm`.
struct TimerDescriptorLayout: Sendable {
    let timerExpires: Field
    let timerState: Field
    let timerBase: Field
    let baseClock: Field
    let alarmExpires: Field
    let alarmState: Field
    let interval: Field
    let ticks: Field
    let clock: Field
    let expired: Field
    let settimeFlags: Field

    init(_ types: TypeTable) throws(KernelError) {
        let context = try types.structure("timerfd_ctx")
        timerExpires = try context.field(anyOf: "t.tmr._softexpires")
        timerState = try context.field(anyOf: "t.tmr.is_queued", "t.tmr.state")
        timerBase = try context.field("t.tmr.base")
        baseClock = try types.structure("hrtimer_clock_base").field("clockid")
        alarmExpires = try context.field("t.alarm.node.expires")
        alarmState = try context.field("t.alarm.state")
        interval = try context.field("tintv")
        ticks = try context.field("ticks")
        clock = try context.field("clockid")
        expired = try context.field("expired")
        settimeFlags = try context.field("settime_flags")
    }
}

extension FileReader {
    /// `enum` of clock ids (include/uapi/linux/time.h).
    private enum Clock: Int32 {
        case realtime = 0
        case monotonic = 1
        case boottime = 7
        case realtimeAlarm = 8
        case boottimeAlarm = 9
    }

    /// The clock that a timer runs on, which for a relative one of CLOCK_REALTIME is CLOCK_MONOTONIC (__hrtimer_init).
    private func base(ofTimerIn context: VirtualAddress) throws(MemoryFault) -> Clock? {
        let base = try kernel.pointer(layout.events.timer.timerBase, of: context)
        return base.isNull ? nil : Clock(rawValue: try kernel.int32(layout.events.timer.baseClock, of: base))
    }

    func timer(at context: VirtualAddress) throws(MemoryFault) -> OpenFile.Kind {
        let fields = layout.events.timer
        let clockNumber = try kernel.int32(fields.clock, of: context)
        guard let clock = Clock(rawValue: clockNumber) else { return .unsupported("timerfd of clock \(clockNumber)") }
        let isAlarm = clock == .realtimeAlarm || clock == .boottimeAlarm
        let expires = try kernel.value(isAlarm ? fields.alarmExpires : fields.timerExpires, of: context)
        let isQueued = try kernel.value(isAlarm ? fields.alarmState : fields.timerState, of: context) & 1 == 1
        var ticks = try kernel.value(fields.ticks, of: context)
        let interval = try kernel.value(fields.interval, of: context)
        let hasExpired = try kernel.value(fields.expired, of: context) != 0

        let now: UInt64 =
            switch isAlarm ? clock : try base(ofTimerIn: context) ?? clock {
            case .realtime, .realtimeAlarm: clocks.realtimeNanoseconds
            case .monotonic: clocks.monotonicNanoseconds
            case .boottime, .boottimeAlarm: clocks.boottimeNanoseconds
            }
        var remaining: UInt64 = 0
        if isQueued {
            // Overdue but not yet run: due at once.
            remaining = expires > now ? expires - now : 1
        } else if hasExpired, interval > 0 {
            // A periodic timer rests after it fired until somebody reads it; then the kernel counts what it missed (timerfd_read_iter).
            let missed = now > expires ? (now - expires) / interval : 0
            ticks = ticks &+ missed
            let next = expires &+ (missed &+ 1) &* interval
            remaining = next > now ? next - now : 1
        }
        return .timerfd(
            TimerDescriptor(
                clock: clockNumber, ticks: ticks, settimeFlags: try kernel.uint32(fields.settimeFlags, of: context),
                intervalNanoseconds: interval, remainingNanoseconds: remaining))
    }
}
