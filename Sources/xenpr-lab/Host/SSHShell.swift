import Foundation

/// A guest of the lab over ssh, through one connection that all commands share.
struct SSHShell: Shell {
    let place: String
    /// The guest's IP address on the lab's network.
    let address: String
    /// The file of the lab's private key.
    let key: String
    /// A socket that the shared connection listens on; short, since it must fit into a `sockaddr_un`.
    let controlSocket: String

    private var options: [String] {
        [
            "-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-o",
            "LogLevel=ERROR",
            "-o", "ConnectTimeout=40", "-o", "ControlPath=\(controlSocket)", "-i", key,
        ]
    }
    private var destination: String { "root@\(address)" }

    /// Waits until the guest takes connections and opens the shared one.
    func connect(within limit: Duration) async throws {
        _ = try await poll(every: .milliseconds(200), within: limit, for: "ssh in \(place) at \(address)") {
            let result = try await Tool.run(
                "ssh", options + ["-o", "ControlMaster=yes", "-fN", destination], timeout: .seconds(60))
            return result.succeeded ? true : nil
        }
    }

    /// Forgets the shared connection, as after a crash of the guest.
    func disconnect() async {
        // When there is none, ssh says so and that is all right.
        _ = try? await Tool.run("ssh", options + ["-O", "exit", destination], timeout: .seconds(10))
        try? FileManager.default.removeItem(atPath: controlSocket)
    }

    func run(_ script: String, input: String, timeout: Duration) async throws -> ToolResult {
        let result = try await Tool.run("ssh", options + [destination, script], input: input, timeout: timeout)
        // ssh's own failures are 255; a script has no reason to exit with that.
        guard result.status != 255 else {
            throw LabFailure("cannot run a command in \(place): \(result.lastLine ?? "ssh failed") (\(script.prefix(120)))")
        }
        return result
    }

    func copyIn(_ directory: String, to destination: String, timeout: Duration) async throws {
        let there = quoted(destination)
        let unpack = "mkdir -p \(there) && tar -C \(there) -xf -"
        let ssh = (["ssh"] + options + [self.destination, unpack]).map(quoted).joined(separator: " ")
        try await Tool.require(
            "/bin/sh", ["-c", "tar -C \(quoted(directory)) --owner=0 --group=0 -cf - . | \(ssh)"], timeout: timeout)
    }

    /// Copies the contents of a directory of the guest into a directory of the host, which is created.
    func copyOut(_ directory: String, to destination: String, timeout: Duration) async throws {
        try FileManager.default.createDirectory(atPath: destination, withIntermediateDirectories: true)
        let ssh = (["ssh"] + options + [self.destination, "tar -C \(quoted(directory)) -cf - ."]).map(quoted).joined(
            separator: " ")
        try await Tool.require(
            "/bin/sh", ["-c", "\(ssh) | tar -C \(quoted(destination)) --no-same-owner -xf -"], timeout: timeout)
    }
}
