import GuestMemory
import KernelObjects
import KernelTypes
import ProcessModel

/// What cgroups are told by files of theirs; a controller that a kernel does not have has no fields.
///
/// The state of each controller begins with its `struct cgroup_subsys_state`, so it is where that is.
struct CgroupSettingsLayout: Sendable {
    /// `struct mem_cgroup` (include/linux/memcontrol.h): counters with limits in pages.
    struct Memory: Sendable {
        let minimum, low, high, maximum, swapMaximum: Field
        let swapHigh: Field
        let killsAll: Field
        /// Since 5.19 and 6.8, with CONFIG_ZSWAP.
        let zswapMaximum, zswapWriteback: Field?
    }

    /// `struct task_group` (kernel/sched/sched.h).
    struct CPU: Sendable {
        let shares: Field
        let quota, period: Field?
        let burst: Field?
        let isIdle: Field?
        /// What was asked for as `cpu.uclamp.min` and `cpu.uclamp.max`, of SCHED_CAPACITY_SCALE; empty without CONFIG_UCLAMP_TASK_GROUP.
        let clamps: [Field]
    }

    /// `struct cpuset` (kernel/cgroup/cpuset-internal.h).
    struct CPUSet: Sendable {
        let cpus: Field
        /// Whether `cpus` is a pointer to the mask (CONFIG_CPUMASK_OFFSTACK).
        let isElsewhere: Bool
        let maskSize: Int
        let nodes: Field
        let partition: Field?
    }

    /// From `struct blkcg` to what limits it on each disk: `struct blkcg_gq` (block/blk-cgroup.h), `struct throtl_grp` (block/blk-throttle.h).
    struct IO: Sendable {
        let disks: Field
        let diskLink: Field
        /// By the number of the policy.
        let policies: Field
        let policyNumber: Field
        /// Bytes and operations a second, of reads and writes, and in older kernels also the low limits (io.low).
        let rates: [Field]
    }

    /// From `struct blkcg` to its `struct ioc_cgrp` (block/blk-iocost.c), by the number of the policy.
    struct IOWeight: Sendable {
        let policyData: Field
        let policyNumber: Field
        /// Of `struct ioc_cgrp`.
        let base, weight: Field
    }

    let memory: Memory?
    let io: IO?
    let ioWeight: IOWeight?
    let cpu: CPU?
    let cpuset: CPUSet?
    /// `limit` of `struct pids_cgroup` (kernel/cgroup/pids.c).
    let pidsLimit: Field?

    init(_ types: TypeTable) {
        memory = try? Memory(types)
        io = try? IO(types)
        ioWeight = try? IOWeight(types)
        cpu = try? CPU(types)
        cpuset = try? CPUSet(types)
        pidsLimit = try? types.structure("pids_cgroup").field("limit.counter")
    }
}

extension CgroupSettingsLayout.Memory {
    init(_ types: TypeTable) throws(KernelError) {
        let group = try types.structure("mem_cgroup")
        minimum = try group.field("memory.min")
        low = try group.field("memory.low")
        high = try group.field("memory.high")
        maximum = try group.field("memory.max")
        swapMaximum = try group.field("swap.max")
        swapHigh = try group.field("swap.high")
        killsAll = try group.field("oom_group")
        zswapMaximum = group.optional("zswap_max")
        zswapWriteback = group.optional("zswap_writeback")
    }
}

extension CgroupSettingsLayout.IO {
    init(_ types: TypeTable) throws(KernelError) {
        disks = try types.structure("blkcg").field("blkg_list")
        let disk = try types.structure("blkcg_gq")
        diskLink = try disk.field("blkcg_node")
        policies = try disk.field("pd")
        policyNumber = try types.structure("blkcg_policy").field("plid")
        let throttle = try types.structure("throtl_grp")
        rates = [try throttle.field("bps"), try throttle.field("iops")]
    }
}

extension CgroupSettingsLayout.IOWeight {
    init(_ types: TypeTable) throws(KernelError) {
        policyData = try types.structure("blkcg").field("cpd")
        policyNumber = try types.structure("blkcg_policy").field("plid")
        let group = try types.structure("ioc_cgrp")
        base = try group.field("cpd")
        weight = try group.field("dfl_weight")
    }
}

extension CgroupSettingsLayout.CPU {
    init(_ types: TypeTable) throws(KernelError) {
        let group = try types.structure("task_group")
        shares = try group.field("shares")
        quota = group.optional("cfs_bandwidth.quota")
        period = group.optional("cfs_bandwidth.period")
        burst = group.optional("cfs_bandwidth.burst")
        isIdle = group.optional("idle")
        let requests = group.optional("uclamp_req")
        let value = (try? types.structure("uclamp_se"))?.optional("value")
        if let requests, let value, requests.count == 2 {
            clamps = [0, 1].map { index in
                var field = value
                field.offset += requests.element(index).offset
                return field
            }
        } else {
            clamps = []
        }
    }
}

extension CgroupSettingsLayout.CPUSet {
    init(_ types: TypeTable) throws(KernelError) {
        let set = try types.structure("cpuset")
        cpus = try set.field("cpus_allowed")
        maskSize = try types.structure("cpumask").size
        isElsewhere = maskSize > cpus.size
        nodes = try set.field("mems_allowed")
        partition = set.optional("partition_root_state")
    }
}

extension DeadKernel {
    /// `PAGE_COUNTER_MAX` (include/linux/page_counter.h): no limit.
    private static let mostPages = UInt64(Int64.max) / 4096
    /// `PIDS_MAX` (kernel/cgroup/pids.c): one more than PID_MAX_LIMIT.
    private static let mostPIDs: UInt64 = (4 << 20) + 1
    /// `RUNTIME_INF` (kernel/sched/sched.h).
    private static let unlimitedTime = UInt64.max

    /// Those that every cgroup has.
    func settings(of cgroup: VirtualAddress) throws(MemoryFault) -> [ControlGroup.Setting] {
        let tree = layout.cgroup.tree
        var settings: [ControlGroup.Setting] = []
        for (name, field) in [("cgroup.max.descendants", tree.maxDescendants), ("cgroup.max.depth", tree.maxDepth)] {
            let value = try reader.int32(field, of: cgroup)
            if value != Int32.max { settings.append(.init(name, "\(value)")) }
        }
        if let field = tree.isFrozen, try reader.value(field, of: cgroup) != 0 { settings.append(.init("cgroup.freeze", "1")) }
        return settings
    }

    func settings(of controllers: CgroupControllers) throws(MemoryFault) -> [ControlGroup.Setting] {
        var settings: [ControlGroup.Setting] = []
        for (name, state) in controllers {
            switch name {
            case "memory": settings += try memorySettings(at: state)
            case "cpu": settings += try cpuSettings(at: state)
            case "cpuset": settings += try cpusetSettings(at: state)
            case "pids":
                guard let field = layout.cgroup.settings.pidsLimit else { break }
                let limit = try reader.value(field, of: state)
                if limit < Self.mostPIDs { settings.append(.init("pids.max", "\(limit)")) }
            default: break
            }
        }
        return settings
    }

    private func memorySettings(at state: VirtualAddress) throws(MemoryFault) -> [ControlGroup.Setting] {
        guard let fields = layout.cgroup.settings.memory else { return [] }
        var settings: [ControlGroup.Setting] = []
        for (name, field, standard) in [
            ("memory.min", fields.minimum, 0), ("memory.low", fields.low, 0), ("memory.high", fields.high, Self.mostPages),
            ("memory.max", fields.maximum, Self.mostPages), ("memory.swap.high", fields.swapHigh, Self.mostPages),
            ("memory.swap.max", fields.swapMaximum, Self.mostPages),
        ] {
            let pages = try reader.value(field, of: state)
            guard pages != standard else { continue }
            settings.append(.init(name, pages >= Self.mostPages ? "max" : "\(pages << 12)"))
        }
        if try reader.value(fields.killsAll, of: state) != 0 { settings.append(.init("memory.oom.group", "1")) }
        return settings
    }

    private func cpuSettings(at state: VirtualAddress) throws(MemoryFault) -> [ControlGroup.Setting] {
        guard let fields = layout.cgroup.settings.cpu else { return [] }
        var settings: [ControlGroup.Setting] = []
        if let field = fields.isIdle, try reader.value(field, of: state) != 0 {
            settings.append(.init("cpu.idle", "1"))
        } else {
            // A weight of 100 is 1024 shares, which are kept with 10 more bits (scale_load of kernel/sched/sched.h).
            let shares = try reader.value(fields.shares, of: state) >> 10
            let weight = (min(shares, 1 << 30) * 100 + 512) / 1024
            if weight != 100 { settings.append(.init("cpu.weight", "\(min(max(weight, 1), 10_000))")) }
        }
        guard let quotaField = fields.quota, let periodField = fields.period else { return settings }
        let quota = try reader.value(quotaField, of: state)
        let period = try reader.value(periodField, of: state) / 1000
        if quota != Self.unlimitedTime || period != 100_000 {
            settings.append(.init("cpu.max", "\(quota == Self.unlimitedTime ? "max" : "\(quota / 1000)") \(period)"))
        }
        if let field = fields.burst {
            let burst = try reader.value(field, of: state) / 1000
            if burst != 0 { settings.append(.init("cpu.max.burst", "\(burst)")) }
        }
        return settings
    }

    private func cpusetSettings(at state: VirtualAddress) throws(MemoryFault) -> [ControlGroup.Setting] {
        guard let fields = layout.cgroup.settings.cpuset else { return [] }
        let mask = fields.isElsewhere ? try reader.pointer(fields.cpus, of: state) : state + fields.cpus.offset
        var settings: [ControlGroup.Setting] = []
        for (name, words) in [
            ("cpuset.cpus", mask.isNull ? [] : try cpuMask(at: mask, limit: fields.maskSize)),
            ("cpuset.mems", try nodeMask(fields.nodes, of: state)),
        ] {
            let numbers = words.enumerated().flatMap { index, word in
                (0..<64).filter { word >> UInt64($0) & 1 != 0 }.map { 64 * index + $0 }
            }
            if !numbers.isEmpty { settings.append(.init(name, numbers.map(String.init).joined(separator: ","))) }
        }
        return settings
    }

    /// The words of a `nodemask_t`.
    private func nodeMask(_ field: Field, of object: VirtualAddress) throws(MemoryFault) -> [UInt64] {
        var words: [UInt64] = []
        for offset in stride(from: 0, to: min(field.size, 1024), by: 8) {
            words.append(try reader.memory.integer(at: object + field.offset + offset))
        }
        return words
    }

    /// Settings that a cgroup has and does not get again, in words.
    func lostSettings(of controllers: CgroupControllers) throws(MemoryFault) -> [String] {
        var losses: [String] = []
        for (name, state) in controllers {
            switch name {
            case "cpuset":
                guard let field = layout.cgroup.settings.cpuset?.partition else { break }
                if try reader.value(field, of: state) != 0 { losses.append("CPUs of its own (cpuset.cpus.partition)") }
            case "io":
                if try hasIOLimits(at: state) { losses.append("limits of I/O (io.max)") }
                if try hasIOWeight(at: state) { losses.append("shares of I/O (io.weight)") }
            case "memory": losses += try lostZswapSettings(at: state)
            case "cpu": losses += try lostClamps(at: state)
            default: break
            }
        }
        return losses
    }

    private func lostZswapSettings(at state: VirtualAddress) throws(MemoryFault) -> [String] {
        guard let fields = layout.cgroup.settings.memory else { return [] }
        var losses: [String] = []
        if let field = fields.zswapMaximum, try reader.value(field, of: state) < Self.mostPages {
            losses.append("limits of zswap (memory.zswap.max)")
        }
        if let field = fields.zswapWriteback, try reader.value(field, of: state) == 0 {
            losses.append("limits of what zswap writes (memory.zswap.writeback)")
        }
        return losses
    }

    /// `uclamp_none` and `cpu_uclamp_print` of kernel/sched: 0, and SCHED_CAPACITY_SCALE for `max`, ask for nothing. The percentages beside them
    /// (`uclamp_pct`) are both 0 until somebody writes one.
    private func lostClamps(at state: VirtualAddress) throws(MemoryFault) -> [String] {
        guard let fields = layout.cgroup.settings.cpu else { return [] }
        var losses: [String] = []
        for (field, (name, unset)) in zip(fields.clamps, [("cpu.uclamp.min", UInt64(0)), ("cpu.uclamp.max", 1024)])
        where try reader.value(field, of: state) != unset {
            losses.append("bounds of the CPUs' speed (\(name))")
        }
        return losses
    }

    /// Weights of single disks are not looked at.
    private func hasIOWeight(at state: VirtualAddress) throws(MemoryFault) -> Bool {
        guard let fields = layout.cgroup.settings.ioWeight, let policy = manifest.symbols.addresses["blkcg_policy_iocost"]
        else { return false }
        let number = try reader.int32(fields.policyNumber, of: policy)
        guard 0..<fields.policyData.count ~= Int(number) else { return false }
        let data = try reader.pointer(fields.policyData.element(Int(number)), of: state)
        guard !data.isNull else { return false }
        // CGROUP_WEIGHT_DFL, since 5.10 times WEIGHT_ONE (ioc_cpd_alloc).
        let weight = try reader.value(fields.weight, of: reader.container(of: data, fields.base))
        return weight != 100 && weight != 100 << 16
    }

    private func hasIOLimits(at state: VirtualAddress) throws(MemoryFault) -> Bool {
        guard let fields = layout.cgroup.settings.io, let policy = manifest.symbols.addresses["blkcg_policy_throtl"] else {
            return false
        }
        var disks: [VirtualAddress] = []
        let head = state + fields.disks.offset
        let fault = reader.forEach(onHashList: head, link: fields.diskLink, limit: 4096) { disks.append($0) }
        if let fault { throw fault }
        let number = try reader.int32(fields.policyNumber, of: policy)
        guard 0..<fields.policies.count ~= Int(number) else { return false }
        for disk in disks {
            let limits = try reader.pointer(fields.policies.element(Int(number)), of: disk)
            guard !limits.isNull else { continue }
            for field in fields.rates {
                for index in 0..<field.count {
                    let element = field.element(index)
                    let rate = try reader.value(element, of: limits)
                    // No limit is the largest number, no low limit 0.
                    if rate != 0, rate != (element.size == 4 ? UInt64(UInt32.max) : .max) { return true }
                }
            }
        }
        return false
    }
}
