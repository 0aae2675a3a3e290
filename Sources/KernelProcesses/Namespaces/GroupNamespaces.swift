import GuestMemory
import KernelObjects
import KernelTypes
import ProcessModel

extension GroupBuilder {
    /// Reads the namespaces that a process is in and that are not those of the guest's init process, each once. What cannot be read is left out, which refuses those who are in it.
    mutating func readNamespaces(of task: TaskAddress, _ numbers: Namespaces) {
        do throws(MemoryFault) {
            let reader = kernel.reader
            let proxy = try reader.pointer(kernel.layout.task.nsproxy, of: task)
            let fields = kernel.layout.namespaces
            if isOwn(numbers.uts, group.initNamespaces.uts), group.utsNamespaces[numbers.uts] == nil {
                let namespace = try reader.pointer(fields.uts.pointer, of: proxy)
                try noteOwner(of: namespace, number: numbers.uts, type: "uts_namespace")
                group.utsNamespaces[numbers.uts] = UTSNamespace(
                    nodeName: KernelString(bytes: try reader.text(fields.nodeName, of: namespace)),
                    domainName: KernelString(bytes: try reader.text(fields.domainName, of: namespace)))
            }
            if let time = fields.time, isOwn(numbers.time, group.initNamespaces.time),
                group.timeNamespaces[numbers.time] == nil
            {
                let namespace = try reader.pointer(time.pointer, of: proxy)
                try noteOwner(of: namespace, number: numbers.time, type: "time_namespace")
                group.timeNamespaces[numbers.time] = TimeNamespace(
                    monotonicOffset: try offset(fields.monotonicSeconds, fields.monotonicNanoseconds, of: namespace),
                    boottimeOffset: try offset(fields.boottimeSeconds, fields.boottimeNanoseconds, of: namespace))
            }
            if let layout = kernel.layout.ipc, isOwn(numbers.ipc, group.initNamespaces.ipc),
                group.ipcNamespaces[numbers.ipc] == nil
            {
                let namespace = try reader.pointer(fields.ipc.pointer, of: proxy)
                try noteOwner(of: namespace, number: numbers.ipc, type: "ipc_namespace")
                group.ipcNamespaces[numbers.ipc] = try ipcNamespace(at: namespace, layout)
            }
            if let layout = kernel.layout.network, isOwn(numbers.network, group.initNamespaces.network),
                group.networkNamespaces[numbers.network] == nil
            {
                let namespace = try reader.pointer(fields.network.pointer, of: proxy)
                try noteOwner(of: namespace, number: numbers.network, type: "net")
                group.networkNamespaces[numbers.network] = try networkNamespace(at: namespace, layout)
            }
            if let layout = kernel.layout.mounts, isOwn(numbers.cgroup, group.initNamespaces.cgroup),
                group.cgroupNamespaces[numbers.cgroup] == nil
            {
                let namespace = try reader.pointer(fields.cgroup.pointer, of: proxy)
                try noteOwner(of: namespace, number: numbers.cgroup, type: "cgroup_namespace")
                let root = try reader.pointer(layout.cgroupRoot, of: namespace)
                group.cgroupNamespaces[numbers.cgroup] = KernelString(bytes: try kernel.cgroupPath(ofSet: root))
            }
            if let layout = kernel.layout.mounts, isOwn(numbers.mount, group.initNamespaces.mount),
                group.mountNamespaces[numbers.mount] == nil
            {
                let namespace = try reader.pointer(fields.mount.pointer, of: proxy)
                try noteOwner(of: namespace, number: numbers.mount, type: "mnt_namespace")
                group.mountNamespaces[numbers.mount] = try mountNamespace(
                    at: namespace, seenFrom: reader.pointer(kernel.layout.task.fs, of: task), layout)
            }
            if isOwn(numbers.pid, group.initNamespaces.pid) {
                let pid = try reader.pointer(kernel.layout.task.threadPID, of: task)
                try noteOwner(of: kernel.pidNamespace(ofStructPID: pid), number: numbers.pid, type: "pid_namespace")
            }
            if let layout = kernel.layout.users, isOwn(numbers.user, group.initNamespaces.user),
                group.userNamespaces[numbers.user] == nil
            {
                let credentials = try kernel.credentialsAddress(of: task)
                let namespace = try reader.pointer(kernel.layout.credentials.userNamespace, of: credentials)
                group.userNamespaces[numbers.user] = try userNamespace(at: namespace, layout)
            }
        } catch {
            kernel.gaps.append(Gap(object: kernel.describe(task), field: "task_struct.nsproxy", fault: error))
        }
    }

    /// The numbers of a `struct pid` in all namespaces but the guest's initial one.
    mutating func notePIDs(at address: VirtualAddress) throws(MemoryFault) {
        if address.isNull { return }
        let layout = kernel.layout.signal
        let level = try kernel.reader.uint32(layout.pidLevel, of: address)
        // MAX_PID_NS_LEVEL is 32.
        guard level <= 32 else { throw MemoryFault(.damaged("pid namespace of level \(level)"), at: address) }
        let number = try kernel.pid(ofStructPID: address)
        guard level > 0, group.namespacePIDs[number] == nil else { return }
        var numbers: [NamespacePID] = []
        for index in 1...Int(level) {
            let entry = address + layout.pidNumbers.offset + index * layout.pidNumberSize
            let namespace = try kernel.reader.pointer(layout.pidNamespace, of: entry)
            numbers.append(
                NamespacePID(
                    namespace: try kernel.reader.uint32(kernel.layout.namespaces.pidNumber, of: namespace),
                    number: try kernel.reader.int32(layout.pidNumber, of: entry)))
        }
        group.namespacePIDs[number] = numbers
    }

    private func isOwn(_ number: UInt32, _ host: UInt32) -> Bool { number != 0 && host != 0 && number != host }

    private func offset(_ seconds: Field?, _ nanoseconds: Field?, of namespace: VirtualAddress) throws(MemoryFault) -> Int64 {
        guard let seconds, let nanoseconds else { throw MemoryFault(.damaged("time namespace without offsets"), at: namespace) }
        return try kernel.reader.signed(seconds, of: namespace) &* 1_000_000_000
            &+ kernel.reader.signed(nanoseconds, of: namespace)
    }
}
