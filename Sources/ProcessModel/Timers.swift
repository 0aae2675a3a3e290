/// The three interval timers of a process (`setitimer`).
public struct IntervalTimers: Sendable, Hashable {
    public var real = IntervalTimer()
    public var virtual = IntervalTimer()
    public var profiling = IntervalTimer()

    public init() {}
}

/// One interval timer; a remaining time of 0 is a disarmed timer.
public struct IntervalTimer: Sendable, Hashable {
    public var intervalNanoseconds: UInt64
    /// Until it fires, counted from the crash; at least 1 when armed, also when it is overdue.
    public var remainingNanoseconds: UInt64

    public init(intervalNanoseconds: UInt64 = 0, remainingNanoseconds: UInt64 = 0) {
        self.intervalNanoseconds = intervalNanoseconds
        self.remainingNanoseconds = remainingNanoseconds
    }
}

/// A timer of `timer_create` (`struct k_itimer`).
public struct PosixTimer: Sendable, Hashable {
    /// The processor time of the process that made the timer. The kernel keeps CLOCK_PROCESS_CPUTIME_ID as the clock of the caller's own process
    /// (PROCESS_CLOCK of kernel/time/posix-cpu-timers.c), and takes that number too.
    public static let processClock: Int32 = -6

    /// A timer that counts the time of one thread, or of another process.
    public var countsAnotherTime: Bool { clock < 0 && clock != Self.processClock }

    /// `it_id`.
    public var id: Int32
    /// `it_clock`.
    public var clock: Int32
    /// `sigq->info.si_signo`.
    public var signal: Int32
    /// SIGEV_* (`it_sigev_notify`).
    public var notification: Int32
    /// `sigq->info.si_value`.
    public var value: UInt64
    /// `it_overrun`; -1 in memory while none is pending: give it as it is.
    public var overrun: Int64
    public var intervalNanoseconds: UInt64
    /// Until it fires, counted from the crash; 0: disarmed. Of a timer that counts the time of one thread, or of another process, not known: 1.
    public var remainingNanoseconds: UInt64
    /// The thread of SIGEV_THREAD_ID.
    public var threadID: Int32?

    public init(
        id: Int32, clock: Int32, signal: Int32, notification: Int32, value: UInt64, overrun: Int64,
        intervalNanoseconds: UInt64, remainingNanoseconds: UInt64, threadID: Int32?
    ) {
        self.id = id
        self.clock = clock
        self.signal = signal
        self.notification = notification
        self.value = value
        self.overrun = overrun
        self.intervalNanoseconds = intervalNanoseconds
        self.remainingNanoseconds = remainingNanoseconds
        self.threadID = threadID
    }
}
