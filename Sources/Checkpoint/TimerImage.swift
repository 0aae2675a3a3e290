import ProcessModel

/// `task_timers_entry` of images/timer.proto.
enum TimerImage {
    static func timers(of process: DeadProcess) -> ProtobufMessage {
        ProtobufMessage { timers in
            timers.message(1, interval(process.intervalTimers.real))
            timers.message(2, interval(process.intervalTimers.virtual))
            timers.message(3, interval(process.intervalTimers.profiling))
            for timer in process.posixTimers { timers.message(4, posix(timer)) }
        }
    }

    /// CRIU drops an interval timer without an interval, so a one-shot gets one that nobody lives to see (68 years).
    static let oneShotIntervalSeconds: UInt64 = 0x7fff_ffff

    /// `itimer_entry`, in seconds and microseconds.
    private static func interval(_ timer: IntervalTimer) -> ProtobufMessage {
        let isArmed = timer.remainingNanoseconds > 0
        let microseconds = timer.remainingNanoseconds / 1000 + (timer.remainingNanoseconds % 1000 == 0 ? 0 : 1)
        let isOneShot = isArmed && timer.intervalNanoseconds < 1000
        return ProtobufMessage { entry in
            entry.unsigned(1, isOneShot ? oneShotIntervalSeconds : timer.intervalNanoseconds / 1_000_000_000)
            entry.unsigned(2, isOneShot ? 0 : timer.intervalNanoseconds % 1_000_000_000 / 1000)
            entry.unsigned(3, microseconds / 1_000_000)
            entry.unsigned(4, microseconds % 1_000_000)
        }
    }

    /// `posix_timer_entry`, in seconds and nanoseconds.
    private static func posix(_ timer: PosixTimer) -> ProtobufMessage {
        ProtobufMessage { entry in
            entry.unsigned(1, UInt32(bitPattern: timer.id))
            entry.unsigned(2, UInt32(bitPattern: timer.clock))
            entry.unsigned(3, UInt32(bitPattern: timer.signal))
            // SIGEV_THREAD_ID, alone: CRIU has timer_create take it as it is.
            entry.unsigned(4, timer.threadID == nil ? UInt32(bitPattern: timer.notification) : 4)
            entry.unsigned(5, timer.value)
            entry.unsigned(6, UInt32(clamping: timer.overrun))
            entry.unsigned(7, timer.intervalNanoseconds / 1_000_000_000)
            entry.unsigned(8, timer.intervalNanoseconds % 1_000_000_000)
            entry.unsigned(9, timer.remainingNanoseconds / 1_000_000_000)
            entry.unsigned(10, timer.remainingNanoseconds % 1_000_000_000)
            if let thread = timer.threadID { entry.signed(11, thread) }
        }
    }
}
