import GuestMemory
import KernelObjects
import KernelTypes

/// From a task to its cgroup in the unified hierarchy, and from there to those around it (include/linux/cgroup-defs.h, include/linux/kernfs.h).
struct CgroupLayout: Sendable {
    let defaultCgroup: Field
    let node: Field
    let nodeName: Field
    /// Called `__parent` since 6.15 (commit 633488947ef6).
    let nodeParent: Field
    let tree: CgroupTreeLayout
    let settings: CgroupSettingsLayout
    /// nil in a kernel without eBPF programs on cgroups.
    let programs: CgroupProgramsLayout?

    init(_ types: TypeTable) throws(KernelError) {
        defaultCgroup = try types.structure("css_set").field("dfl_cgrp")
        node = try types.structure("cgroup").field("kn")
        let kernfs = try types.structure("kernfs_node")
        nodeName = try kernfs.field("name")
        nodeParent = try kernfs.field(anyOf: "__parent", "parent")
        tree = try CgroupTreeLayout(types)
        settings = CgroupSettingsLayout(types)
        programs = CgroupProgramsLayout(types)
    }
}

extension DeadKernel {
    /// The path of a task's cgroup, `/` for the root.
    func cgroupPath(of task: TaskAddress) throws(MemoryFault) -> [UInt8] {
        try cgroupPath(ofSet: reader.pointer(layout.task.cgroups, of: task))
    }

    /// The path of the cgroup of a `struct css_set`.
    func cgroupPath(ofSet set: VirtualAddress) throws(MemoryFault) -> [UInt8] {
        try cgroupPath(ofCgroup: reader.pointer(layout.cgroup.defaultCgroup, of: set))
    }

    /// The path of a `struct cgroup`.
    func cgroupPath(ofCgroup cgroup: VirtualAddress) throws(MemoryFault) -> [UInt8] {
        if let known = cgroupPaths[cgroup] { return known }
        var node = try reader.pointer(layout.cgroup.node, of: cgroup)
        var parts: [[UInt8]] = []
        while true {
            let parent = try reader.pointer(layout.cgroup.nodeParent, of: node)
            if parent.isNull { break }
            guard parts.count < 256 else { throw MemoryFault(.damaged("cgroup deeper than 256 levels"), at: node) }
            let name = try reader.memory.string(at: reader.pointer(layout.cgroup.nodeName, of: node), limit: 256)
            parts.append(Array(name.utf8))
            node = parent
        }
        let path = parts.isEmpty ? [UInt8(ascii: "/")] : parts.reversed().flatMap { [UInt8(ascii: "/")] + $0 }
        cgroupPaths[cgroup] = path
        return path
    }

    /// The protected group that a cgroup path lies in: the component below `/xenpr`.
    static func groupName(ofCgroup path: [UInt8]) -> String? {
        let parts = path.split(separator: UInt8(ascii: "/"))
        guard parts.count >= 2, parts[0].elementsEqual(Array("xenpr".utf8)) else { return nil }
        return String(decoding: parts[1], as: UTF8.self)
    }
}
