import Foundation
import Logging
import Recovery
import TOMLKit

/// `/etc/xenpr/xenprd.toml`, with what holds when a key is absent. An unknown key is a mistake and is refused.
struct DaemonConfiguration: Sendable {
    static let defaultPath = "/etc/xenpr/xenprd.toml"

    var socket = "/run/xenpr/xenprd.sock"
    var stateDirectory = "/var/lib/xenpr"
    var runDirectory = "/run/xenpr"
    var logLevel = Logger.Level.info
    /// The recovery volume of a `protect` that names none.
    var volume: String?
    var minorKernel = "/usr/lib/xenpr/minor-vmlinuz"
    var minorRamdisk = "/usr/lib/xenpr/minor-initrd"
    var minorMemoryMiB = 256
    var minorCommandLine = "console=hvc0 loglevel=4"
    var xl = "xl"
    var xenpr = "xenpr"
    var limits = Limits()

    /// The file's form.
    private struct File: Decodable {
        struct Minor: Decodable {
            var kernel: String?
            var ramdisk: String?
            var memory_mib: Int?
            var command_line: String?
        }
        struct Seconds: Decodable {
            var arm_s: Int?
            var answer_s: Int?
            var heartbeat_s: Int?
            var salvage_s: Int?
            var restore_s: Int?
            var crash_loop_s: Int?
        }
        struct Tools: Decodable {
            var xl: String?
            var xenpr: String?
        }
        var socket: String?
        var state_directory: String?
        var run_directory: String?
        var log_level: String?
        var volume: String?
        var minor: Minor?
        var limits: Seconds?
        var tools: Tools?
    }

    /// Reads the file; the default one may be missing.
    static func load(_ path: String?) throws(ToolFailure) -> DaemonConfiguration {
        let file = path ?? defaultPath
        if path == nil, !FileManager.default.fileExists(atPath: file) { return DaemonConfiguration() }
        let text: String
        do {
            text = try String(contentsOfFile: file, encoding: .utf8)
        } catch {
            throw ToolFailure("cannot read \(file): \(error.localizedDescription)")
        }
        return try parse(text, name: file)
    }

    static func parse(_ text: String, name: String) throws(ToolFailure) -> DaemonConfiguration {
        let file: File
        do {
            file = try TOMLDecoder(strictDecoding: true).decode(File.self, from: text)
        } catch let error as UnexpectedKeysError {
            let keys = error.keys.values.map { $0.map(\.stringValue).joined(separator: ".") }.sorted().joined(separator: ", ")
            throw ToolFailure("cannot use \(name): unknown keys: \(keys); Support/xenprd.toml shows all that exist")
        } catch let error as TOMLParseError {
            throw ToolFailure("cannot use \(name): line \(error.source.begin.line): \(error.description)")
        } catch {
            throw ToolFailure("cannot use \(name): \(error)")
        }
        var settings = DaemonConfiguration()
        set(&settings.socket, file.socket)
        set(&settings.stateDirectory, file.state_directory)
        set(&settings.runDirectory, file.run_directory)
        settings.volume = file.volume
        set(&settings.minorKernel, file.minor?.kernel)
        set(&settings.minorRamdisk, file.minor?.ramdisk)
        set(&settings.minorMemoryMiB, file.minor?.memory_mib)
        set(&settings.minorCommandLine, file.minor?.command_line)
        set(&settings.xl, file.tools?.xl)
        set(&settings.xenpr, file.tools?.xenpr)
        if let level = file.log_level {
            guard let known = Logger.Level(rawValue: level) else {
                let levels = Logger.Level.allCases.map(\.rawValue).joined(separator: ", ")
                throw ToolFailure("cannot use \(name): log_level is \(level), but must be one of \(levels)")
            }
            settings.logLevel = known
        }
        try setLimits(&settings.limits, file.limits, name)
        return settings
    }

    private static func setLimits(_ limits: inout Limits, _ file: File.Seconds?, _ name: String) throws(ToolFailure) {
        let all: [(String, Int?, WritableKeyPath<Limits, Double>)] = [
            ("arm_s", file?.arm_s, \.arm), ("answer_s", file?.answer_s, \.answer),
            ("heartbeat_s", file?.heartbeat_s, \.heartbeat), ("salvage_s", file?.salvage_s, \.salvage),
            ("restore_s", file?.restore_s, \.restore), ("crash_loop_s", file?.crash_loop_s, \.crashLoop),
        ]
        for (key, value, path) in all {
            guard let value else { continue }
            guard (1...86400).contains(value) else {
                throw ToolFailure("cannot use \(name): limits.\(key) is \(value), but must be 1 to 86400 seconds")
            }
            limits[keyPath: path] = Double(value)
        }
    }

    private static func set<Value>(_ target: inout Value, _ value: Value?) {
        if let value { target = value }
    }
}
