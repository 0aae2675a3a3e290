import Glibc

/// Ends the lab on SIGINT and SIGTERM. It is process 1 of its PID namespace, which ignores both otherwise; the kernel then ends
/// all that the run has started.
enum EndOnSignals {
    static func install() {
        for number in [SIGINT, SIGTERM] {
            // The handler captures nothing and calls only _exit, which is async-signal-safe.
            _ = signal(number) { _exit(128 + $0) }
        }
    }
}
