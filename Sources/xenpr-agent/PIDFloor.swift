import Glibc

/// Keeps the PIDs of protected processes apart from those that the early boot takes.
///
/// A restored process gets its old PID back, so nothing that runs before the restore may hold it. The kernel hands PIDs out in
/// order (`kernel/pid.c`, idr_alloc_cyclic), starting anew at each boot: with groups above the floor, and the early boot below
/// it, the two do not meet.
enum PIDFloor {
    /// What the boot up to the agent stays below, kernel threads included; a Debian 12 guest uses some 300.
    static let lowest: Int32 = 2000

    private static let lastPIDFile = "/proc/sys/kernel/ns_last_pid"

    /// Makes the next PID larger than `pid` (and than ``lowest``) unless it is already. Returns the last PID afterwards.
    ///
    /// Nothing is changed when `pid` is so close to `kernel.pid_max` that the numbers would start again from the bottom.
    @discardableResult
    static func raise(above pid: Int32 = 0) throws(AgentError) -> Int32 {
        guard let last = number(lastPIDFile) else {
            throw AgentError(
                description:
                    "cannot read \(lastPIDFile): the kernel has no CONFIG_CHECKPOINT_RESTORE, so PIDs cannot be restored")
        }
        let floor = max(lowest, pid)
        let largest = number("/proc/sys/kernel/pid_max") ?? 32768
        guard floor > last, floor < largest &- 1000 else { return last }
        try writeControlFile(lastPIDFile, String(floor))
        return floor
    }

    private static func number(_ path: String) -> Int32? {
        guard let text = readText(path), let line = text.split(separator: "\n").first else { return nil }
        return Int32(line)
    }
}
