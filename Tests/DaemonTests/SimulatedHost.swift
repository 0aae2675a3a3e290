import Daemon
import DaemonAPI
import Foundation
import Recovery
import RecoverySimulator

/// A Xen host with one guest, `main`, whose time runs a hundred times faster than ours.
struct SimulatedHost: DaemonHost {
    let world: SimulatedWorld
    var configuration = MainConfiguration(name: "main", type: "pvh", onCrash: "preserve")
    var volume = VolumeState.ready

    init(_ scenario: Scenario = Scenario()) {
        var scenario = scenario
        scenario.until = .infinity
        world = SimulatedWorld(scenario)
    }

    func guest(_ name: String) -> SimulatedWorld { world }

    func changes() -> AsyncStream<Void> {
        AsyncStream { continuation in
            let task = Task {
                while !Task.isCancelled {
                    try await Task.sleep(for: .milliseconds(10))
                    await world.advance(1)
                    continuation.yield()
                }
            }
            continuation.onTermination = { _ in task.cancel() }
        }
    }

    func configuration(of guest: String, at path: String) async throws(WorldFailure) -> MainConfiguration { configuration }
    func volumeState(_ path: String) async -> VolumeState { volume }
    func formatVolume(_ path: String) async throws(WorldFailure) {}
    func hostChecks() async -> [Check] { [Check("xen", .ok, "a simulated one")] }
    func guestChecks(_ record: ProtectionRecord) async -> [Check] {
        [Check("guest \(record.guest): protection", .ok, record.state.rawValue)]
    }
}
