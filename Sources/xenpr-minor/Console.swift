import Glibc

/// The minor's console, which Xen keeps a log of.
enum Console {
    /// Writes one line, with the seconds since the kernel started.
    static func note(_ message: String) {
        let milliseconds = Clock.milliseconds()
        let fraction = String(milliseconds % 1000 + 1000).dropFirst()
        let line = "[\(milliseconds / 1000).\(fraction)] xenpr-minor: \(message)\n"
        unsafe Array(line.utf8).withUnsafeBytes { bytes in
            // The bytes live until the call returns. A console that takes nothing must not stop a salvage.
            _ = unsafe write(2, bytes.baseAddress, bytes.count)
        }
    }
}

/// The clocks of the minor's kernel.
enum Clock {
    /// Since the kernel started.
    static func milliseconds() -> Int {
        let time = read(CLOCK_MONOTONIC)
        return time.tv_sec * 1000 + time.tv_nsec / 1_000_000
    }

    /// Unix time in seconds.
    static func unixSeconds() -> Double {
        let time = read(CLOCK_REALTIME)
        return Double(time.tv_sec) + Double(time.tv_nsec) / 1e9
    }

    private static func read(_ clock: clockid_t) -> timespec {
        var time = timespec()
        // Writes into a local structure only.
        _ = unsafe clock_gettime(clock, &time)
        return time
    }
}
