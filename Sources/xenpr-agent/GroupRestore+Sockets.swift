import CLinux
import Glibc

extension GroupRestore {
    /// Sets options of sockets that CRIU does not. Returns what could not be set.
    func completeSockets() -> [String] {
        guard !group.sockets.isEmpty else { return [] }
        guard let cgroup = try? ControlGroup(group.name) else { return ["options of its sockets are not set again"] }
        let threads = GuestThreads(group, in: cgroup)
        var problems: [String] = []
        for socket in group.sockets {
            func lost(_ names: [String], _ reason: String) {
                problems.append(
                    "descriptor \(socket.descriptor) of process \(socket.pid) has lost \(names.joined(separator: ", ")): \(reason)"
                )
            }
            let names = socket.options.map(\.name)
            let copy: Descriptor
            do throws(AgentError) {
                copy = try threads.descriptor(socket.descriptor, of: socket.pid)
            } catch {
                lost(names, error.description)
                continue
            }
            for option in socket.options
            where xpr_set_socket_option(copy.number, option.level, option.number, option.value) != 0 {
                lost([option.name], errorText(errno))
            }
        }
        return problems
    }
}
