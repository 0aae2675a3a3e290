import Foundation
import Recovery
import Testing

@testable import xenprd

@Suite struct DaemonConfigurationTests {
    @Test func everythingIsOptional() throws {
        let settings = try DaemonConfiguration.parse("", name: "xenprd.toml")
        #expect(settings.socket == "/run/xenpr/xenprd.sock")
        #expect(settings.limits == Limits())
    }

    @Test func valuesAreTaken() throws {
        let text = """
            socket = "/tmp/s"
            volume = "/dev/vg/r"
            log_level = "debug"
            [minor]
            memory_mib = 64
            [limits]
            salvage_s = 30
            """
        let settings = try DaemonConfiguration.parse(text, name: "xenprd.toml")
        #expect(settings.socket == "/tmp/s")
        #expect(settings.volume == "/dev/vg/r")
        #expect(settings.minorMemoryMiB == 64)
        #expect(settings.limits.salvage == 30)
        #expect(settings.logLevel == .debug)
    }

    @Test(arguments: [
        ("sokcet = 1", "unknown keys: sokcet"), ("[minor]\nmem = 1", "unknown keys: minor.mem"),
        ("log_level = \"loud\"", "log_level is loud"), ("[limits]\narm_s = 0", "limits.arm_s is 0"),
        ("socket = ", "line 1"),
    ])
    func mistakesAreNamed(_ text: String, _ complaint: String) {
        #expect {
            try DaemonConfiguration.parse(text, name: "xenprd.toml")
        } throws: { error in
            "\(error)".contains(complaint)
        }
    }

    /// Every key that the example shows exists, and its value is the one that holds without it.
    @Test func exampleShowsTheDefaults() throws {
        let root = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
            .deletingLastPathComponent()
        let example = try String(contentsOf: root.appending(path: "Support/xenprd.toml"), encoding: .utf8)
        let active = example.split(separator: "\n").map { line in
            line.hasPrefix("#") && !line.hasPrefix("# ") ? String(line.dropFirst()) : String(line)
        }.joined(separator: "\n")
        let settings = try DaemonConfiguration.parse(active, name: "Support/xenprd.toml")
        let defaults = DaemonConfiguration()
        #expect(settings.limits == defaults.limits)
        #expect(settings.minorKernel == defaults.minorKernel)
        #expect(settings.minorCommandLine == defaults.minorCommandLine)
        #expect(settings.minorMemoryMiB == defaults.minorMemoryMiB)
        #expect(settings.stateDirectory == defaults.stateDirectory)
        #expect(active.contains("salvage_s = 600"))
    }
}
