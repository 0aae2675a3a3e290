import Glibc

extension GroupRestore {
    /// Gives the group's own network namespace the settings that it had, where a new one has others. Returns what could not be set.
    func completeNetworkSettings() -> [String] {
        guard group.hasNetworkNamespace else { return [] }
        let errors = group.networks.map { apply($0.settings, toNetworkOf: $0.pid) }
        guard let error = errors.first(where: { $0 != 0 }) else { return [] }
        return ["not all settings (sysctl) of its network namespace are what they were: \(errorText(error))"]
    }

    /// - Returns: the last error number, 0 for none.
    private func apply(_ settings: [(path: String, value: String)], toNetworkOf pid: Int32) -> Int32 {
        guard !settings.isEmpty else { return 0 }
        // Those for all devices change those of each (devinet_sysctl_forward of net/ipv4/devinet.c, neigh_copy_dflt_parms of net/core/neighbour.c).
        let ordered = Self.common.flatMap { part in settings.filter { $0.path.contains(part) } } + settings
        return inNetworkNamespace(of: pid) {
            var failure: Int32 = 0
            // A second time, for some change others: a secret for addresses the way in which they are made.
            for setting in ordered + ordered {
                let file = "/proc/sys/" + setting.path
                // One that this kernel has not was judged by the old one's value; one that nobody has set yet cannot be read.
                if let now = readText(file), Self.words(now) == Self.words(setting.value) { continue }
                guard System.exists(file) else { continue }
                do throws(AgentError) { try writeControlFile(file, setting.value) } catch { failure = errno }
            }
            return failure
        }
    }

    private static let common = ["/conf/all/", "/conf/default/", "/neigh/default/"]

    private static func words(_ text: String) -> [Substring] { text.split(whereSeparator: \.isWhitespace) }
}
