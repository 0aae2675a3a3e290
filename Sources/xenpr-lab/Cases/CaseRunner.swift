import Foundation

/// One case on its way through a run: where it is on the host and in main, and what happened to it.
struct CaseRunner: Sendable {
    let definition: CaseDefinition
    /// The copy of the case's directory on the host in which it was built.
    let copy: String
    /// `$CASE`: the case's directory on main's disk.
    let place: String
    /// Where the group's standard output goes in main.
    let log: String

    var name: String { definition.name }

    /// Where the cases' copies are on the host, below the directory of the run, and in main.
    static let copies = "cases"
    static let places = "/var/lib/xenpr-lab/cases"

    init(_ definition: CaseDefinition, directory: String) {
        self.definition = definition
        copy = "\(directory)/\(Self.copies)/\(definition.name)"
        place = "\(Self.places)/\(definition.name)"
        log = "/var/lib/xenpr-lab/logs/\(definition.name).log"
    }

    /// What a case may take at least to be built and to start, also on a busy host.
    private static let preparationLimit = Duration.seconds(300)

    /// Copies the case's directory and runs its `build` there, on the host.
    func build() async throws {
        try await HostShell().copyIn(definition.directory, to: copy, timeout: .seconds(120))
        guard definition.has("build") else { return }
        let result = try await Tool.run(
            "\(copy)/build", [], environment: ["CASE": copy, "SOURCE": definition.directory], directory: copy,
            timeout: max(definition.timeout, Self.preparationLimit))
        guard result.succeeded else {
            throw LabFailure("build exited with \(result.status): \(result.lastLine ?? "it printed nothing")")
        }
    }

    /// Shares main's processors between groups, so that a case that starts can go before those that compute already: on an emulated processor the last one would
    /// take minutes.
    private static let shareProcessors = """
        mkdir -p /sys/fs/cgroup/xenpr && echo +cpu > /sys/fs/cgroup/cgroup.subtree_control && \
        echo +cpu > /sys/fs/cgroup/xenpr/cgroup.subtree_control
        """

    /// Runs a program with the largest share of the processors, then gives its group the usual one.
    private var startWithLargestShare: String {
        let weight = "/sys/fs/cgroup/xenpr/\(name)/cpu.weight"
        return "echo 10000 > \(weight) && \"$1\"; status=$?; echo 100 > \(weight); exit $status"
    }

    /// Runs `start` in the case's own protected group; the case is on main's disk already.
    func start(in main: SSHShell) async throws {
        let result = try await main.run(
            """
            \(Self.shareProcessors) && mkdir -p /var/lib/xenpr-lab/logs && cd \(place) && export CASE=\(place) && \
            exec xenpr-agent run --group \(name) --cwd \(place) --log \(log) -- \
            /bin/sh -c '\(startWithLargestShare)' sh \(place)/start
            """, timeout: max(definition.timeout, Self.preparationLimit))
        guard result.succeeded else {
            let output = try await main.run("tail -n 5 \(log)")
            throw LabFailure(
                "start exited with \(result.status): \(output.lastLine ?? result.lastLine ?? "it printed nothing")")
        }
    }

    /// Runs `before` or `check` in main, outside of the group. Nil when the case has no such program.
    func run(_ program: String, in main: SSHShell) async throws -> ToolResult? {
        guard definition.has(program) else { return nil }
        // Without standard input from the connection, so that a program that reads it sees its end.
        return try await main.run(
            "cd \(place) && export CASE=\(place) && exec \(place)/\(program) < /dev/null", timeout: definition.timeout)
    }
}
