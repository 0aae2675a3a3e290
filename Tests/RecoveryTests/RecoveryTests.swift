import Foundation
import Recovery
import RecoverySimulator
import Testing

/// Every scenario in `Scenarios/`: its log is compared line by line. `XENPR_RECORD=1` writes the logs anew, to be read
/// before they are committed.
@Suite struct ScenarioTests {
    static let directory = URL(fileURLWithPath: #filePath).deletingLastPathComponent().appending(path: "Scenarios")

    static let names: [String] = {
        let files = (try? FileManager.default.contentsOfDirectory(atPath: directory.path)) ?? []
        return files.filter { $0.hasSuffix(".scenario") }.map { String($0.dropLast(".scenario".count)) }.sorted()
    }()

    static func text(_ name: String) throws -> String {
        try String(contentsOf: directory.appending(path: "\(name).scenario"), encoding: .utf8)
    }

    @Test func scenariosExist() {
        #expect(Self.names.count >= 40)
    }

    @Test(arguments: names) func logIsAsExpected(_ name: String) async throws {
        let text = try Self.text(name)
        let scenario = try Scenario(text)
        let story = Story(scenario)
        await story.live()
        var log = await story.world.log
        for recovery in await story.world.recoveries { log += Self.lines(recovery) }
        if ProcessInfo.processInfo.environment["XENPR_RECORD"] != nil {
            let head = text.components(separatedBy: "--- log").first ?? ""
            let recorded = head.trimmingCharacters(in: .newlines) + "\n--- log\n" + log.joined(separator: "\n") + "\n"
            try recorded.write(to: Self.directory.appending(path: "\(name).scenario"), atomically: true, encoding: .utf8)
        } else {
            #expect(log == scenario.expected)
        }
    }

    private static func lines(_ recovery: RecoveryRecord) -> [String] {
        var lines = ["recovery \(recovery.id): \(recovery.outcome.rawValue)" + (recovery.kept.map { ", \($0)" } ?? "")]
        lines += recovery.reasons.map { "  reason: \($0)" }
        lines += recovery.groups.map { group in
            "  group \(group.name): \(group.verdict ?? "-") \(group.outcome ?? "-") \(group.reasons.joined(separator: "; "))"
                .trimmingCharacters(in: .whitespaces)
        }.map { "  \($0)" }
        return lines
    }
}

/// `kill -9` of xenprd at every single point of every scenario: before and after each effect, each look and each write of
/// the journal. Whatever the point, main must be up in the end, with at most one minor.
@Suite struct KillTests {
    /// Stories in which main is not up in the end without any kill either, and one in which xenprd cannot remember
    /// anything, so that a kill between main's end and its creation is beyond its power.
    private static let mainStaysAway: Set<String> = ["migrated-away", "unprotect-rebooting", "journal-full"]

    @Test(arguments: ScenarioTests.names) func noPointStrandsTheGuest(_ name: String) async throws {
        guard !Self.mainStaysAway.contains(name) else { return }
        var scenario = try Scenario(try ScenarioTests.text(name))
        // A restarted xenprd may begin a step again, so the end comes later.
        scenario.until += 900
        let undisturbed = Story(scenario)
        await undisturbed.live()
        let points = await undisturbed.world.pointCount
        #expect(points > 0)
        // Long quiet stretches repeat the same points, so only the first ones are taken one by one.
        for point in 1...min(points, 200) {
            let story = Story(scenario, killAt: point)
            await story.live()
            let isUp = await story.world.isMainUp
            let minors = await story.world.minorCount
            let log = await story.world.log.joined(separator: "\n")
            #expect(isUp, "killed at point \(point):\n\(log)")
            #expect(minors <= 1, "killed at point \(point)")
        }
    }
}
