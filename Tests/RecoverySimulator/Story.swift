import Logging
import Recovery

/// Lives a scenario to its end: an engine, killed and made anew from the journal as often as the story wants.
public struct Story: Sendable {
    public let world: SimulatedWorld

    public init(_ scenario: Scenario, killAt point: Int? = nil) {
        world = SimulatedWorld(scenario, killAt: point)
    }

    public func live() async {
        let silent = Logger(label: "simulation") { _ in SwiftLogNoOpLogHandler() }
        while true {
            var engine = GuestEngine(record: await world.journaled, host: world, desk: world, limits: Limits(), logger: silent)
            do {
                try await engine.run()
                return
            } catch {
                guard await world.takeKill() else { return }
            }
        }
    }
}
