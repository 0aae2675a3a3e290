import GuestMemory
import KernelObjects
import KernelTypes
import ProcessModel

/// How cgroups hang together (`struct cgroup`, `struct cgroup_subsys_state` of include/linux/cgroup-defs.h).
struct CgroupTreeLayout: Sendable {
    /// The `struct cgroup_subsys_state` that stands for the cgroup itself.
    let own: Field
    let level: Field
    /// Of the state of each controller, by the controller's number; null where it has none.
    let controllerStates: Field
    /// The controllers that its children have, as bits by their number.
    let childControllers: Field
    /// The nearest cgroup at or above it whose processes are not split by thread.
    let domain: Field
    /// Whether its processes are to be stopped (`cgroup.freeze`).
    let isFrozen: Field?
    let maxDescendants: Field
    let maxDepth: Field

    let parent: Field
    let children: Field
    let sibling: Field
    let flags: Field
    /// Of `struct cgroup_subsys`.
    let controllerName: Field

    /// CSS_ONLINE (include/linux/cgroup-defs.h, 4.5 to 7.2): not removed.
    static let online: UInt64 = 1 << 1

    init(_ types: TypeTable) throws(KernelError) {
        let cgroup = try types.structure("cgroup")
        own = try cgroup.field("self")
        level = try cgroup.field("level")
        controllerStates = try cgroup.field("subsys")
        childControllers = try cgroup.field("subtree_control")
        domain = try cgroup.field("dom_cgrp")
        isFrozen = cgroup.optional("freezer.freeze")
        maxDescendants = try cgroup.field("max_descendants")
        maxDepth = try cgroup.field("max_depth")
        let state = try types.structure("cgroup_subsys_state")
        parent = try state.field("parent")
        children = try state.field("children")
        sibling = try state.field("sibling")
        flags = try state.field("flags")
        controllerName = try types.structure("cgroup_subsys").field("name")
    }
}

/// A cgroup's controllers by name, with what each keeps of it.
typealias CgroupControllers = [(name: String, state: VirtualAddress)]

extension DeadKernel {
    /// More cgroups of one group are not believed.
    private static let cgroupLimit = 4096
    /// Instructions of all device filters of one group.
    private static let filterLimit = 1 << 18

    /// The group's own cgroup and all below it that exist, each after the one it lies in, and what of them cannot be had again.
    /// - Parameter task: one that lies in one of them.
    func cgroups(around task: TaskAddress) throws(MemoryFault) -> (cgroups: [ControlGroup], losses: [String]) {
        let nearest = try reader.pointer(layout.cgroup.defaultCgroup, of: reader.pointer(layout.task.cgroups, of: task))
        let root = try groupCgroup(atOrAbove: nearest)
        let names = try controllerNames()
        var found: [ControlGroup] = []
        var losses: [String] = []
        var instructions = Self.filterLimit
        var rest = [root]
        while let cgroup = rest.popLast() {
            guard found.count + rest.count < Self.cgroupLimit else {
                throw MemoryFault(.damaged("more than \(Self.cgroupLimit) cgroups"), at: root)
            }
            found.append(try controlGroup(at: cgroup, controllers: names, &losses, instructions: &instructions))
            rest += try cgroups(below: cgroup).reversed()
        }
        return (found, losses)
    }

    /// The cgroup below /xenpr that a cgroup lies in. The hierarchy's root is level 0, /xenpr 1, and each is one above its child (cgroup_create of
    /// kernel/cgroup/cgroup.c).
    private func groupCgroup(atOrAbove cgroup: VirtualAddress) throws(MemoryFault) -> VirtualAddress {
        let field = layout.cgroup.tree.level
        var root = cgroup
        var level = try reader.int32(field, of: root)
        // No deeper than its path may be.
        guard 2...256 ~= level else { throw MemoryFault(.damaged("level of a cgroup"), at: root) }
        while level > 2 {
            let parent = try self.cgroup(above: root)
            guard try reader.int32(field, of: parent) == level - 1 else {
                throw MemoryFault(.damaged("level of a cgroup's parent"), at: parent)
            }
            root = parent
            level -= 1
        }
        return root
    }

    private func cgroup(above cgroup: VirtualAddress) throws(MemoryFault) -> VirtualAddress {
        let state = try reader.pointer(layout.cgroup.tree.parent, of: cgroup + layout.cgroup.tree.own.offset)
        guard !state.isNull else { throw MemoryFault(.damaged("cgroup without a parent"), at: cgroup) }
        return state - layout.cgroup.tree.own.offset
    }

    private func cgroups(below cgroup: VirtualAddress) throws(MemoryFault) -> [VirtualAddress] {
        let tree = layout.cgroup.tree
        var states: [VirtualAddress] = []
        let head = cgroup + tree.own.offset + tree.children.offset
        if let fault = reader.forEach(onList: head, link: tree.sibling, limit: Self.cgroupLimit, { states.append($0) }) {
            throw fault
        }
        var cgroups: [VirtualAddress] = []
        for state in states where try reader.value(tree.flags, of: state) & CgroupTreeLayout.online != 0 {
            cgroups.append(state - tree.own.offset)
        }
        return cgroups
    }

    private func controlGroup(
        at cgroup: VirtualAddress, controllers names: [String], _ losses: inout [String], instructions: inout Int
    ) throws(MemoryFault) -> ControlGroup {
        let tree = layout.cgroup.tree
        var result = ControlGroup(path: KernelString(bytes: try cgroupPath(ofCgroup: cgroup)))
        let mask = try reader.value(tree.childControllers, of: self.cgroup(above: cgroup))
        var controllers: CgroupControllers = []
        for (number, name) in names.enumerated() where mask >> UInt64(number) & 1 != 0 {
            guard number < tree.controllerStates.count else { break }
            let state = try reader.pointer(tree.controllerStates.element(number), of: cgroup)
            if !state.isNull { controllers.append((name, state)) }
        }
        result.controllers = controllers.map(\.name)
        result.settings = try settings(of: cgroup) + settings(of: controllers)
        losses += try lostSettings(of: controllers).map { "\($0) of cgroup \(result.path) are not set again" }
        if try reader.pointer(tree.domain, of: cgroup) != cgroup {
            losses.append("cgroup \(result.path) was one of threads (cgroup.type) and is one of processes now")
        }
        let programs = try programs(of: cgroup, instructions: &instructions)
        result.deviceFilters = programs.deviceFilters
        if programs.others > 0 {
            losses.append("\(programs.others) programs (eBPF) that were attached to cgroup \(result.path) are gone")
        }
        return result
    }

    /// By number (`cgroup_subsys`, kernel/cgroup/cgroup.c).
    private func controllerNames() throws(MemoryFault) -> [String] {
        guard let table = manifest.symbols.addresses["cgroup_subsys"] else { return [] }
        var names: [String] = []
        for number in 0..<layout.cgroup.tree.controllerStates.count {
            let controller = try reader.memory.pointer(at: table + 8 * number)
            guard !controller.isNull else { break }
            names.append(
                try reader.memory.string(at: reader.pointer(layout.cgroup.tree.controllerName, of: controller), limit: 32))
        }
        return names
    }
}
