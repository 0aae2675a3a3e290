import Foundation

/// The network of one run: a network namespace with a tap device per QEMU, so that runs never meet each other or the host's own
/// network, and every port of every guest can be reached.
enum LabNetwork {
    static let host = "10.97.0.1"
    static let control = "10.97.0.2"
    static let main = "10.97.0.3"
    static let tap = "xenpr0"

    /// The variable that says that this process is already in the namespaces of its run.
    private static let marker = "XENPR_LAB_INSIDE"

    /// Whether this process is in a run's own namespaces.
    static var isInside: Bool { ProcessInfo.processInfo.environment[marker] != nil }

    /// Executes this program again with the same arguments in a network and a PID namespace of its own; returns only when that
    /// fails. Whatever the run has started ends with it then, even if it is killed.
    static func enter() throws -> Never {
        let program = try FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe")
        var words = ["unshare", "--net", "--pid", "--fork", "--kill-child", "--mount-proc"]
        if getuid() != 0 { words.append("--map-root-user") }
        words += ["--", program] + CommandLine.arguments.dropFirst()
        // Both are string literals; no other thread reads the environment yet.
        unsafe setenv(marker, "1", 1)
        // The array of C strings ends with nil and lives until execvp replaces the process, or fails.
        let pointers: [UnsafeMutablePointer<CChar>?] = unsafe words.map { unsafe strdup($0) } + [nil]
        unsafe execvp("unshare", pointers)
        throw LabFailure("cannot start a run: executing unshare failed with error \(errno); install util-linux")
    }

    /// Sets up the devices in the namespace of this run.
    static func setUp() async throws {
        try await Tool.require(
            "/bin/sh",
            [
                "-ec",
                """
                ip link set lo up
                ip tuntap add dev \(tap) mode tap
                ip address add \(host)/24 dev \(tap)
                ip link set \(tap) up
                """,
            ])
    }
}
