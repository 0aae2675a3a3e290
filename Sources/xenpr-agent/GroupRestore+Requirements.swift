import Glibc

extension GroupRestore {
    /// Whether the guest has what the images name and CRIU would not miss.
    func checkRequirements() throws(AgentError) {
        for device in group.requiredDevices {
            // The name is a C string that lives as long as the call.
            let number = unsafe if_nametoindex(device.name)
            guard number != UInt32(bitPattern: device.number) else { continue }
            let now = number == 0 ? "not there" : "number \(number)"
            throw AgentError(
                description:
                    "network device \(device.name) is \(now); a packet socket was bound to it as number \(device.number)")
        }
        guard !group.requiredMounts.isEmpty else { return }
        let mounted = Self.mountPoints(in: readText("/proc/self/mountinfo") ?? "")
        for path in group.requiredMounts where !mounted.contains(path) {
            throw AgentError(
                description:
                    "nothing is mounted at \(path), all of which a fanotify group watched; see that it is in /etc/fstab")
        }
    }

    /// The places of proc(5)'s mountinfo.
    static func mountPoints(in text: String) -> Set<String> {
        Set(
            text.split(separator: "\n").compactMap { line in
                let words = line.split(separator: " ")
                return words.count > 4 ? unescaped(words[4]) : nil
            })
    }

    /// The kernel writes a space, tab, newline and backslash as three octal digits.
    private static func unescaped(_ word: Substring) -> String {
        var bytes: [UInt8] = []
        var rest = Array(word.utf8)[...]
        while let byte = rest.popFirst() {
            let digits = rest.prefix(3)
            if byte == UInt8(ascii: "\\"), digits.count == 3,
                let code = UInt8(String(decoding: digits, as: UTF8.self), radix: 8)
            {
                bytes.append(code)
                rest = rest.dropFirst(3)
            } else {
                bytes.append(byte)
            }
        }
        return String(decoding: bytes, as: UTF8.self)
    }
}
