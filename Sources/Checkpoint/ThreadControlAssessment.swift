import ProcessModel

/// What a thread has had the kernel do for it, by prctl(2) and sched_setattr(2), and CRIU does not set.
enum ThreadControlAssessment {
    static func concerns(about thread: DeadThread) -> [String] {
        let name = "thread \(thread.tid)"
        var result: [String] = []
        if thread.scheduling.hasCoreCookie {
            result.append("the core scheduling cookie (PR_SCHED_CORE) of \(name) is lost: others may run on its core beside it")
        }
        if thread.scheduling.hasUtilizationClamps {
            result.append("\(name) had limits of utilization (SCHED_FLAG_UTIL_CLAMP), which CRIU does not set")
        }
        if thread.hasMemoryErrorPolicy {
            result.append("\(name) had chosen what an error of memory does to it (PR_MCE_KILL), which CRIU does not set")
        }
        if thread.isFlusher {
            result.append("\(name) had told the kernel that it does a disk's I/O (PR_SET_IO_FLUSHER), which CRIU does not set")
        }
        return result
    }
}
