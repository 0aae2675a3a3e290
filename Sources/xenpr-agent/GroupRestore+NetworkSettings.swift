import Glibc

extension GroupRestore {
    /// Gives the group's own network namespace the settings that it had, where a new one has others. Returns what could not be set.
    func completeNetworkSettings() -> [String] {
        guard group.hasNetworkNamespace, !group.networkSettings.isEmpty else { return [] }
        // Those for all devices change those of each (devinet_sysctl_forward, net/ipv4/devinet.c).
        let ordered =
            Self.common.flatMap { part in group.networkSettings.filter { $0.path.contains(part) } } + group.networkSettings
        let error = inNetworkNamespace {
            var failure: Int32 = 0
            for setting in ordered {
                let file = "/proc/sys/" + setting.path
                // One that this kernel has not, or that nobody may see, was judged by the old one's value.
                guard let now = readText(file), Self.words(now) != Self.words(setting.value) else { continue }
                do throws(AgentError) { try writeControlFile(file, setting.value) } catch { failure = errno }
            }
            return failure
        }
        return error == 0 ? [] : ["not all settings (sysctl) of its network namespace are what they were: \(errorText(error))"]
    }

    private static let common = ["/conf/all/", "/conf/default/"]

    private static func words(_ text: String) -> [Substring] { text.split(whereSeparator: \.isWhitespace) }
}
