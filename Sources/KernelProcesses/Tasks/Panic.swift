import GuestMemory
import KernelObjects
import KernelTypes

extension DeadKernel {
    /// The task on the CPU that panicked (`panic_cpu`, kernel/panic.c); nil for a kernel that hung without a panic.
    var panickedTask: TaskAddress? {
        guard let address = manifest.symbols.addresses["panic_cpu"],
            let cpu = try? reader.memory.integer(at: address, as: Int32.self), cpu >= 0
        else { return nil }
        return runningTasks[Int(cpu)]
    }

    /// The tasks that were current on a CPU, by the number of the CPU; the idle tasks are not among them.
    private var runningTasks: [Int: TaskAddress] {
        if let known = knownRunningTasks { return known }
        var result: [Int: TaskAddress] = [:]
        for leader in threadGroups() {
            for task in (try? threads(of: leader)) ?? [leader] {
                if let cpu = try? cpuNumber(of: task) { result[cpu] = task }
            }
        }
        knownRunningTasks = result
        return result
    }
}
