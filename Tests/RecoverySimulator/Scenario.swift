import Foundation
import Recovery

/// A story of one guest: how the world behaves, what happens when, and the log that must come of it.
///
///     # What the story is about.
///     set KEY VALUE…
///     at SECONDS EVENT…
///     --- log
///     what happened, line by line
public struct Scenario: Sendable {
    public enum Ending: String, Sendable {
        case done, fails, dies, hangs, silent
    }

    public enum Event: Sendable, Equatable {
        case panic
        case minorDies
        case minorSilent
        /// The operator destroys, starts, restarts, renames, migrates main.
        case destroyed
        case started
        case rebooted
        case renamed(String)
        case migrated
        case unprotect
        /// `kill -9` of xenprd; a new one starts at once.
        case kill
    }

    public struct Mistake: Error, CustomStringConvertible {
        public let description: String
    }

    public var settings = ProtectionSettings(config: "/etc/xen/main.cfg", volume: "/dev/vg/recovery", salvage: .minor)
    /// The guest was armed once already when the story begins.
    public var accepted = false
    public var minorArmedAfter = 3.0
    public var minorRefusal: String?
    public var minorNeverReady = false
    public var minorEnding = Ending.done
    public var minorSeconds = 10.0
    /// The minor asks for main's disks when it is half done.
    public var minorAsksForDisks = false
    public var disksRefused: String?
    public var kernelRefusal: String?
    public var controlEnding = Ending.done
    public var controlSeconds = 20.0
    public var agentAfter = 8.0
    public var agentSilent = false
    /// Group and what the agent says of it.
    public var outcomes: [(String, String)] = [("counter", "restored")]
    /// Group, the salvage's verdict, and why.
    public var verdicts: [(String, String, String?)] = [("counter", "full", nil)]
    public var createFailsWithVolume = false
    public var createFailures = 0
    /// How often the toolstack is ended in its work and leaves a paused domain.
    public var createHalfMade = 0
    /// The agent shows progress for so long.
    public var agentWorks: Double?
    /// The agent reports that it could restore nothing.
    public var agentFailure: String?
    public var destroyFailures = 0
    /// While main does not give the volume back.
    public var volumeBusy: ClosedRange<Double>?
    public var journalFails = false
    public var until = 120.0
    public var events: [(at: Double, event: Event)] = []
    public var expected: [String] = []

    public init() {}

    public init(_ text: String) throws {
        var inLog = false
        for line in text.split(separator: "\n", omittingEmptySubsequences: false).map(String.init) {
            if line.hasPrefix("--- log") {
                inLog = true
            } else if inLog {
                if !line.isEmpty { expected.append(line) }
            } else if !line.isEmpty, !line.hasPrefix("#") {
                try read(line)
            }
        }
    }

    private mutating func read(_ line: String) throws {
        let words = line.split(separator: " ").map(String.init)
        if words[0] == "at", words.count >= 3, let at = Double(words[1]) {
            events.append((at, try Self.event(Array(words.dropFirst(2)))))
        } else if words[0] == "set", words.count >= 2 {
            try set(words[1], Array(words.dropFirst(2)))
        } else {
            throw Mistake(description: "not a line of a scenario: \(line)")
        }
    }

    private static func event(_ words: [String]) throws -> Event {
        switch words[0] {
        case "panic": return .panic
        case "minor-dies": return .minorDies
        case "minor-silent": return .minorSilent
        case "destroyed": return .destroyed
        case "started": return .started
        case "rebooted": return .rebooted
        case "renamed" where words.count == 2: return .renamed(words[1])
        case "migrated": return .migrated
        case "unprotect": return .unprotect
        case "kill": return .kill
        default: throw Mistake(description: "no such event: \(words.joined(separator: " "))")
        }
    }

    private mutating func set(_ key: String, _ words: [String]) throws {
        let text = words.joined(separator: " ")
        func number() throws -> Double {
            guard let value = Double(text) else { throw Mistake(description: "\(key) wants a number, not \(text)") }
            return value
        }
        func ending() throws -> Ending {
            guard let value = Ending(rawValue: text) else { throw Mistake(description: "\(key) cannot be \(text)") }
            return value
        }
        switch key {
        case "salvage": settings.salvage = Salvager(rawValue: text) ?? .minor
        case "accepted": accepted = true
        case "minor.armed-after": minorArmedAfter = try number()
        case "minor.refuses": minorRefusal = text
        case "minor.never-ready": minorNeverReady = true
        case "minor.salvage": minorEnding = try ending()
        case "minor.seconds": minorSeconds = try number()
        case "minor.asks-for-disks": minorAsksForDisks = true
        case "disks.refused": disksRefused = text
        case "kernel.refused": kernelRefusal = text
        case "control.salvage": controlEnding = try ending()
        case "control.seconds": controlSeconds = try number()
        case "agent.after": agentAfter = try number()
        case "agent.silent": agentSilent = true
        case "agent.reports":
            outcomes = words.map { word in
                let parts = word.split(separator: "=").map(String.init)
                return (parts[0], parts.count > 1 ? parts[1] : "restored")
            }
        case "manifest":
            verdicts = text.split(separator: ",").map { item in
                let parts = item.split(separator: "=").map { $0.trimmingCharacters(in: .whitespaces) }
                return (parts[0], parts.count > 1 ? parts[1] : "full", parts.count > 2 ? parts[2] : nil)
            }
        case "create.fails-with-volume": createFailsWithVolume = true
        case "create.half-made": createHalfMade = Int(try number())
        case "agent.works": agentWorks = try number()
        case "agent.failure": agentFailure = text
        case "create.failures": createFailures = Int(try number())
        case "destroy.failures": destroyFailures = Int(try number())
        case "volume.busy":
            guard words.count == 2, let from = Double(words[0]), let to = Double(words[1]), from <= to else {
                throw Mistake(description: "volume.busy wants two moments, not \(text)")
            }
            volumeBusy = from...to
        case "journal.fails": journalFails = true
        case "until": until = try number()
        default: throw Mistake(description: "no such setting: \(key)")
        }
    }
}
