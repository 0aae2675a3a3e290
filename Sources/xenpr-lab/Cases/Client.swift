import Foundation

/// The `client` of a case: it runs in the control domain, with MAIN_IP set, from before the crash until after the check.
struct Client: Sendable {
    let name: String
    private let control: any Shell
    /// The copy of the case's directory in the control domain; what the client prints is in `client.log` there.
    private let place: String
    /// The session of the client.
    private let session: String

    /// Copies the case to the control domain and starts its client in a session of its own.
    static func start(_ runner: CaseRunner, on machine: any LabMachine) async throws -> Client {
        let place = "/var/tmp/xenpr-lab-client/\(UUID().uuidString.prefix(8))/\(runner.name)"
        try await machine.control.copyIn(runner.copy, to: place, timeout: .seconds(60))
        let session = try await machine.control.require(
            """
            cd \(place) && export CASE=\(place) MAIN_IP=\(machine.main.address) || exit
            setsid ./client < /dev/null > client.log 2>&1 &
            echo $!
            """)
        return Client(
            name: runner.name, control: machine.control, place: place,
            session: session.trimmingCharacters(in: .whitespacesAndNewlines))
    }

    /// Ends the client's session and returns the last line that it printed.
    func stop() async throws -> String? {
        try await control.run(
            "kill -- -\(session) 2> /dev/null; tail -n 5 \(place)/client.log; rm -rf \(quoted((place as NSString).deletingLastPathComponent))"
        ).lastLine
    }
}
