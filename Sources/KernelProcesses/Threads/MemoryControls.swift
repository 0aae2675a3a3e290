/// What prctl(2) sets in a thread's `task_struct.flags` for the memory that it uses (PF_*, include/linux/sched.h; the same from
/// 5.10 on).
enum MemoryControls {
    /// PF_MCE_PROCESS: prctl(PR_MCE_KILL) has chosen what an error of memory does to the thread.
    private static let errorPolicy: UInt64 = 0x80
    /// PF_MEMALLOC_NOIO and PF_LOCAL_THROTTLE: prctl(PR_SET_IO_FLUSHER). The first alone is the kernel's own for the length of a
    /// call (memalloc_noio_save).
    private static let flusher: UInt64 = 0x8_0000 | 0x10_0000

    static func hasErrorPolicy(_ flags: UInt64) -> Bool { flags & errorPolicy != 0 }
    static func isFlusher(_ flags: UInt64) -> Bool { flags & flusher == flusher }
}
