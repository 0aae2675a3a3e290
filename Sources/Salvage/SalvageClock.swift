import Glibc

/// Wall-clock time, in seconds since the epoch.
func wallClock() -> Double {
    var time = timespec()
    // The call only fills the structure given.
    unsafe clock_gettime(CLOCK_REALTIME, &time)
    return Double(time.tv_sec) + Double(time.tv_nsec) / 1e9
}
