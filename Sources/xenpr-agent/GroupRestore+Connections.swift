import CLinux
import Glibc

extension GroupRestore {
    /// Without a lock the kernel would cut some of the connections itself, and in the middle of what CRIU does.
    mutating func lockConnections() {
        guard !group.connections.isEmpty, !group.hasNetworkNamespace else { return }
        do throws(AgentError) {
            try connectionLock.lock(group.connections)
        } catch {
            try? connectionLock.unlock()
            connectionProblem = "\(group.connections.count) ends of TCP connections are cut: \(error)"
        }
    }

    func unlockConnections() {
        if !group.connections.isEmpty, !group.hasNetworkNamespace { try? connectionLock.unlock() }
    }

    private var connectionLock: ConnectionLock { ConnectionLock(group.name) }

    /// Lets packets pass in the group's own network namespace. Returns why not.
    func completeConnections() -> [String] {
        guard group.hasNetworkNamespace, !group.connections.isEmpty else { return [] }
        let problem = "its TCP connections cannot go on"
        let errors = ([group.rootPID] + group.innerNetworks.map(\.pid)).map { pid in
            inNetworkNamespace(of: pid) {
                do throws(AgentError) { try ConnectionLock.ofImages.unlock() } catch { return errno == 0 ? EIO : errno }
                return 0
            }
        }
        return errors.first { $0 != 0 }.map { ["\(problem): \(errorText($0))"] } ?? []
    }

    /// Does something in the network namespace of a process of the group, from a process of its own, for the agent stays in the guest's.
    /// - Returns: the error number that `body` returned, 0 for none.
    func inNetworkNamespace(of pid: Int32, _ body: () -> Int32) -> Int32 {
        guard let cgroup = try? ControlGroup(group.name), let member = GuestThreads(group, in: cgroup)[pid],
            let namespace = Descriptor(taking: System.open("/proc/\(member)/ns/net", O_RDONLY))
        else { return ESRCH }
        return inChild { xpr_enter_namespace(namespace.number) == 0 ? body() : errno }
    }
}
