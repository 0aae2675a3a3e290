import Glibc
import PlainJSON

/// What CRIU leaves to others, done while it still holds the group's processes: none of them has run yet.
///
/// CRIU starts this program as its action script, without arguments, at each step of a restore (`run_shell_scripts` of criu/action-scripts.c). At "pre-resume" all
/// of the group is there, and goes on when the script has ended.
struct CompletionHook {
    private static let directory = "XENPR_GROUP_DIRECTORY"

    /// What CRIU is started with, so that its scripts know the group.
    static func environment(_ directory: String) -> [(name: String, value: String)] { [(Self.directory, directory)] }

    /// Whether CRIU has started this program.
    static var isCalled: Bool { System.environment("CRTOOLS_SCRIPT_ACTION") != nil }

    /// Completes the group, and leaves what could not be done beside its images.
    static func run() throws(AgentError) -> Int32 {
        guard System.environment("CRTOOLS_SCRIPT_ACTION") == "pre-resume" else { return ExitCode.done }
        guard let directory = System.environment(directory) else {
            throw AgentError(description: "CRIU has not been started by xenpr-agent", exitCode: ExitCode.usage)
        }
        let group = try RecoveryManifest.Group(parsing: try readFile(directory + GroupRestore.ownManifest))
        let restore = GroupRestore(group: group, directory: directory)
        try replaceFile(restore.problemsFile, with: JSONValue.array(restore.complete().map { .string($0) }).bytes(.pretty))
        return ExitCode.done
    }
}

extension GroupRestore {
    /// What the manifest says of the group, in its directory: the whole of it may be large, and CRIU waits for its script.
    fileprivate static let ownManifest = "/group.json"

    fileprivate var problemsFile: String { directory + "/problems.json" }

    func leaveOwnManifest() throws(AgentError) {
        try replaceFile(directory + Self.ownManifest, with: group.json.bytes(.compact))
    }

    /// Packets pass when all else is as it was.
    /// - Returns: what could not be done.
    fileprivate func complete() -> [String] {
        completeNetworkSettings() + completeLinks() + completeThreads() + completeRoot() + completeFormats() + completePipes()
            + completeSockets() + completePacketFilters() + completeConnections()
    }

    /// What ``CompletionHook`` could not do.
    var problems: [String] {
        guard let bytes = try? readFile(problemsFile, limit: 1 << 20), let list = try? JSONValue(parsing: bytes).arrayValue
        else {
            return ["what CRIU does not set is not set, for its action script has not ended well; see restore.out"]
        }
        return list.compactMap(\.stringValue)
    }
}
