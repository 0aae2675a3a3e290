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
            for option in socket.options where !Self.set(option, on: copy.number) { lost([option.name], errorText(errno)) }
        }
        return problems
    }

    private static func set(_ option: RecoveryManifest.Socket.Option, on socket: Int32) -> Bool {
        switch option.value {
        case .number(var number):
            // The kernel reads one int.
            return unsafe setsockopt(socket, option.level, option.number, &number, socklen_t(MemoryLayout<Int32>.size)) == 0
        case .text(let text):
            // The kernel reads as many bytes as the string has.
            return unsafe setsockopt(socket, option.level, option.number, text, socklen_t(text.utf8.count)) == 0
        }
    }
}
