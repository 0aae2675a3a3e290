import GuestMemory
import KernelObjects
import KernelTypes

/// What a thread asks of the scheduler beyond its policy (include/linux/sched.h).
struct SchedulingRequestLayout: Sendable {
    /// With CONFIG_SCHED_CORE, since 5.14.
    let coreCookie: Field?
    /// With CONFIG_UCLAMP_TASK: a `struct uclamp_se` for the least utilization, one for the most.
    let clamps: Field?
    let isSetByUser: Field?

    init(_ types: TypeTable) {
        let task = try? types.structure("task_struct")
        coreCookie = task?.optional("core_cookie")
        clamps = task?.optional("uclamp_req")
        isSetByUser = (try? types.structure("uclamp_se"))?.optional("user_defined")
    }
}

extension DeadKernel {
    /// prctl(PR_SCHED_CORE), or that of a parent: nothing else makes a cookie (kernel/sched/core_sched.c).
    func hasCoreCookie(_ task: TaskAddress) throws(MemoryFault) -> Bool {
        guard let field = layout.schedulingRequests.coreCookie else { return false }
        return try reader.value(field, of: task) != 0
    }

    /// sched_setattr(2) with SCHED_FLAG_UTIL_CLAMP: the kernel's own clamps are not `user_defined` (__setscheduler_uclamp,
    /// kernel/sched/).
    func hasUtilizationClamps(_ task: TaskAddress) throws(MemoryFault) -> Bool {
        let fields = layout.schedulingRequests
        guard let clamps = fields.clamps, let isSetByUser = fields.isSetByUser else { return false }
        // UCLAMP_MIN and UCLAMP_MAX.
        for index in 0..<min(clamps.count, 2)
        where try reader.value(isSetByUser, of: task + clamps.element(index).offset) != 0 {
            return true
        }
        return false
    }
}
