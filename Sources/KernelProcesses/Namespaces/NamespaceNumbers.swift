import GuestMemory
import KernelObjects
import KernelTypes
import ProcessModel

/// `struct nsproxy` and the `struct ns_common` in each namespace (include/linux/nsproxy.h, include/linux/ns_common.h).
struct NamespaceLayout: Sendable {
    struct Kind: Sendable {
        var pointer: Field
        var number: Field
    }
    let uts, ipc, mount, network, cgroup: Kind
    let time: Kind?
    let timeOfChildren: Field?
    let pidOfChildren: Field?
    let pidNumber: Field
    let userNumber: Field
    let nodeName, domainName: Field
    let monotonicSeconds, monotonicNanoseconds, boottimeSeconds, boottimeNanoseconds: Field?

    init(_ types: TypeTable) throws(KernelError) {
        let proxy = try types.structure("nsproxy")
        func kind(_ member: String, _ type: String) throws(KernelError) -> Kind {
            Kind(pointer: try proxy.field(member), number: try types.structure(type).field("ns.inum"))
        }
        uts = try kind("uts_ns", "uts_namespace")
        ipc = try kind("ipc_ns", "ipc_namespace")
        mount = try kind("mnt_ns", "mnt_namespace")
        network = try kind("net_ns", "net")
        cgroup = try kind("cgroup_ns", "cgroup_namespace")
        time = types.has("time_namespace") ? try kind("time_ns", "time_namespace") : nil
        timeOfChildren = proxy.optional("time_ns_for_children")
        pidOfChildren = proxy.optional("pid_ns_for_children")
        pidNumber = try types.structure("pid_namespace").field("ns.inum")
        userNumber = try types.structure("user_namespace").field("ns.inum")
        nodeName = try types.structure("uts_namespace").field("name.nodename")
        domainName = try types.structure("uts_namespace").field("name.domainname")
        let offsets = types.has("time_namespace") ? try types.structure("time_namespace") : nil
        monotonicSeconds = offsets?.optional("offsets.monotonic.tv_sec")
        monotonicNanoseconds = offsets?.optional("offsets.monotonic.tv_nsec")
        boottimeSeconds = offsets?.optional("offsets.boottime.tv_sec")
        boottimeNanoseconds = offsets?.optional("offsets.boottime.tv_nsec")
    }
}

extension DeadKernel {
    /// Which namespace a process has chosen for its children (unshare(2) or setns(2) with CLONE_NEWPID or CLONE_NEWTIME) that is not its own; nil: none.
    func namespaceOfChildren(of task: TaskAddress, besides own: Namespaces) throws(MemoryFault) -> String? {
        let proxy = try reader.pointer(layout.task.nsproxy, of: task)
        if proxy.isNull { return nil }
        let fields = layout.namespaces
        if let field = fields.pidOfChildren {
            let namespace = try reader.pointer(field, of: proxy)
            if !namespace.isNull, try reader.uint32(fields.pidNumber, of: namespace) != own.pid { return "pid" }
        }
        if let field = fields.timeOfChildren, let time = fields.time {
            let namespace = try reader.pointer(field, of: proxy)
            if !namespace.isNull, try reader.uint32(time.number, of: namespace) != own.time { return "time" }
        }
        return nil
    }

    /// The numbers of a task's namespaces; zeros for a task that has left them (a zombie).
    func namespaces(of task: TaskAddress) throws(MemoryFault) -> Namespaces {
        var result = Namespaces()
        let proxy = try reader.pointer(layout.task.nsproxy, of: task)
        if proxy.isNull { return result }
        let fields = layout.namespaces
        func number(_ kind: NamespaceLayout.Kind) throws(MemoryFault) -> UInt32 {
            let namespace = try reader.pointer(kind.pointer, of: proxy)
            return namespace.isNull ? 0 : try reader.uint32(kind.number, of: namespace)
        }
        result.uts = try number(fields.uts)
        result.ipc = try number(fields.ipc)
        result.mount = try number(fields.mount)
        result.network = try number(fields.network)
        result.cgroup = try number(fields.cgroup)
        if let time = fields.time { result.time = try number(time) }
        let cred = try credentialsAddress(of: task)
        result.user = try reader.uint32(
            fields.userNumber, of: reader.pointer(layout.credentials.userNamespace, of: cred))
        let pid = try reader.pointer(layout.task.threadPID, of: task)
        result.pid = try reader.uint32(fields.pidNumber, of: pidNamespace(ofStructPID: pid))
        return result
    }

    /// The innermost namespace that a `struct pid` has a number in.
    func pidNamespace(ofStructPID pid: VirtualAddress) throws(MemoryFault) -> VirtualAddress {
        let level = Int(try reader.uint32(layout.signal.pidLevel, of: pid))
        // MAX_PID_NS_LEVEL is 32.
        guard level <= 32 else { throw MemoryFault(.damaged("pid namespace of level \(level)"), at: pid) }
        let number = pid + layout.signal.pidNumbers.offset + level * layout.signal.pidNumberSize
        return try reader.pointer(layout.signal.pidNamespace, of: number)
    }
}
