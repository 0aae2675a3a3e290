import Daemon
import DaemonAPI
import Foundation
import Recovery
import RecoverySimulator
import Testing

@Suite struct APITests {
    @Test func protectAnswersWhenArmed() async throws {
        let daemon = try await TestDaemon(SimulatedHost())
        let answer = try await daemon.send(.PUT, "/v1/guests/main", #"{"config": "/etc/xen/main.cfg", "salvage": "minor"}"#)
        #expect(answer.status == 200)
        #expect(answer.state == "armed")
        #expect(answer.json["schema"] as? String == "xenpr.guest/1")
        #expect(answer.json["kernel"] as? String == "6.1.0-56-amd64")
        let list = try await daemon.send(.GET, "/v1/guests")
        #expect((list.json["guests"] as? [Any])?.count == 1)
        // A second wish for the same is granted, one for something else is not.
        #expect(try await daemon.send(.PUT, "/v1/guests/main").status == 200)
        let other = try await daemon.send(.PUT, "/v1/guests/main", #"{"salvage": "control"}"#)
        #expect(other.status == 409)
        #expect(other.code == "already_protected")
        #expect(try await daemon.send(.DELETE, "/v1/guests/main").state == "unprotected")
        #expect(try await daemon.send(.GET, "/v1/guests/main").code == "not_protected")
        await daemon.stop()
    }

    @Test func kernelThatIsNotUnderstoodIsRefused() async throws {
        var scenario = Scenario()
        scenario.minorRefusal = "no BTF at __start_BTF"
        let daemon = try await TestDaemon(SimulatedHost(scenario))
        let answer = try await daemon.send(.PUT, "/v1/guests/main")
        #expect(answer.status == 422)
        #expect(answer.code == "kernel_not_supported")
        #expect((try await daemon.send(.GET, "/v1/guests").json["guests"] as? [Any])?.isEmpty == true)
        await daemon.stop()
    }

    @Test(arguments: [nil, "destroy", "restart"] as [String?])
    func onCrashMustBePreserve(_ value: String?) async throws {
        var host = SimulatedHost()
        host.configuration.onCrash = value
        let daemon = try await TestDaemon(host)
        let answer = try await daemon.send(.PUT, "/v1/guests/main")
        #expect(answer.status == 422)
        #expect(answer.code == "on_crash_not_preserve")
        #expect(answer.nextStep?.contains(#"on_crash = "preserve""#) == true)
        #expect(await host.world.log.isEmpty)
        await daemon.stop()
    }

    @Test func runningDomainMustPreserveToo() async throws {
        var host = SimulatedHost()
        host.configuration.liveOnCrash = "destroy"
        let daemon = try await TestDaemon(host)
        #expect(try await daemon.send(.PUT, "/v1/guests/main").code == "on_crash_not_preserve")
        await daemon.stop()
    }

    @Test func volumeIsNeverFormattedSilently() async throws {
        let states: [(VolumeState, String, String?)] = [
            (.blank, "{}", "volume_blank"), (.blank, #"{"format": true}"#, nil),
            (.foreign("ext4 labelled home"), #"{"format": true}"#, "volume_foreign"),
            (.unusable("it is not a block device"), #"{"format": true}"#, "volume_unusable"),
        ]
        for (state, body, code) in states {
            var host = SimulatedHost()
            host.volume = state
            let daemon = try await TestDaemon(host)
            let answer = try await daemon.send(.PUT, "/v1/guests/main", body)
            #expect(answer.code == code)
            await daemon.stop()
        }
    }

    @Test func pvGuestIsSalvagedInTheControlDomainOnly() async throws {
        var host = SimulatedHost()
        host.configuration.type = nil
        let daemon = try await TestDaemon(host)
        #expect(try await daemon.send(.PUT, "/v1/guests/main").code == "pv_guest")
        #expect(try await daemon.send(.PUT, "/v1/guests/main", #"{"salvage": "control"}"#).code == nil)
        await daemon.stop()
    }

    @Test func mistakesAreRefusedPrecisely() async throws {
        let daemon = try await TestDaemon(SimulatedHost())
        let large = "{\"config\": \"/" + String(repeating: "a", count: 70_000) + "\"}"
        let cases: [(String, String, String, Int, String)] = [
            ("GET", "/v1/guests/nobody", "", 404, "not_protected"), ("GET", "/v2/guests", "", 404, "no_such_path"),
            ("GET", "/", "", 404, "no_such_path"), ("GET", "/v1/guests/main/more", "", 404, "no_such_path"),
            ("DELETE", "/v1/recoveries/x", "", 405, "method_not_allowed"),
            ("POST", "/v1/guests", "", 405, "method_not_allowed"),
            ("GET", "/v1/recoveries/none-1", "", 404, "no_such_recovery"),
            ("PUT", "/v1/guests/-x", "{}", 400, "name_invalid"), ("PUT", "/v1/guests/a%2Fb", "{}", 400, "name_invalid"),
            ("PUT", "/v1/guests/main", "[]", 400, "body_invalid"), ("PUT", "/v1/guests/main", "{", 400, "body_invalid"),
            ("PUT", "/v1/guests/main", #"{"volum": "/dev/x"}"#, 400, "body_invalid"),
            ("PUT", "/v1/guests/main", #"{"salvage": "nobody"}"#, 400, "body_invalid"),
            ("PUT", "/v1/guests/main", #"{"config": 7}"#, 400, "body_invalid"),
            ("PUT", "/v1/guests/main", #"{"volume": "/dev/x\",xvda,w"}"#, 422, "path_invalid"),
            ("PUT", "/v1/guests/main", #"{"config": "main.cfg"}"#, 422, "path_invalid"),
            ("PUT", "/v1/guests/main", large, 413, "body_too_large"),
        ]
        for (method, path, body, status, code) in cases {
            let answer = try await daemon.send(.init(method), path, body)
            #expect(answer.status == status, "\(method) \(path)")
            #expect(answer.code == code, "\(method) \(path)")
        }
        let limit = try await daemon.send(.GET, "/v1/recoveries", query: [("limit", "0")])
        #expect(limit.code == "limit_invalid")
        await daemon.stop()
    }

    @Test func recoveryIsJournalledAndSurvivesARestart() async throws {
        let host = SimulatedHost()
        let first = try await TestDaemon(host)
        #expect(try await first.send(.PUT, "/v1/guests/main").state == "armed")
        await first.stop(keepJournal: true)

        // The guest panics while no daemon is there; the next one sees it.
        await host.world.now(.panic)
        let second = try await TestDaemon(host, in: first.directory)
        var recovery: [String: Any] = [:]
        for _ in 0..<500 {
            let list = try await second.send(.GET, "/v1/recoveries", query: [("guest", "main")])
            recovery = (list.json["recoveries"] as? [[String: Any]])?.first ?? [:]
            if recovery["outcome"] as? String == "recovered" { break }
            try await Task.sleep(for: .milliseconds(20))
        }
        #expect(recovery["outcome"] as? String == "recovered")
        let id = try #require(recovery["id"] as? String)
        let shown = try await second.send(.GET, "/v1/recoveries/\(id)")
        #expect(shown.json["schema"] as? String == "xenpr.recovery-record/1")
        let states = (shown.json["transitions"] as? [[String: Any]])?.compactMap { $0["to"] as? String } ?? []
        #expect(states.starts(with: ["crashed", "salvaging", "rebooting", "restoring", "recovered"]))
        let doctor = try await second.send(.GET, "/v1/doctor", query: [("guest", "main")])
        #expect((doctor.json["checks"] as? [Any])?.count == 3)
        await second.stop()
    }

    /// Not a test: serves the simulated host for curl. `XENPR_SERVE=SECONDS swift test --filter serveForCurl`.
    @Test(.enabled(if: ProcessInfo.processInfo.environment["XENPR_SERVE"] != nil)) func serveForCurl() async throws {
        let host = SimulatedHost()
        let daemon = try await TestDaemon(host)
        print("curl --unix-socket \(daemon.socket) http://xenprd/v1/guests")
        let seconds = ProcessInfo.processInfo.environment["XENPR_SERVE"].flatMap(Double.init) ?? 60
        try await Task.sleep(for: .seconds(seconds / 2))
        await host.world.now(.panic)
        try await Task.sleep(for: .seconds(seconds / 2))
        await daemon.stop()
    }
}
