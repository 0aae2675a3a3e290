import Foundation
import Logging

/// Logs to stderr, one line an entry: with the journal's priority marks under systemd, with the time elsewhere.
struct StderrLogHandler: LogHandler {
    var metadata: Logger.Metadata = [:]
    var logLevel: Logger.Level
    /// systemd sets it when stderr is a stream of the journal (systemd.exec(5)).
    private static let underJournal = ProcessInfo.processInfo.environment["JOURNAL_STREAM"] != nil

    init(level: Logger.Level) {
        logLevel = level
    }

    subscript(metadataKey key: String) -> Logger.Metadata.Value? {
        get { metadata[key] }
        set { metadata[key] = newValue }
    }

    func log(event: LogEvent) {
        var all = metadata
        all.merge(event.metadata ?? [:]) { _, new in new }
        var line = Self.underJournal ? "<\(Self.priority(event.level))>" : "\(Date().ISO8601Format()) \(event.level) "
        if let guest = all.removeValue(forKey: "guest") { line += "\(guest): " }
        line += "\(event.message)"
        for (key, value) in all.sorted(by: { $0.key < $1.key }) { line += " \(key)=\(Self.quoted("\(value)"))" }
        writeToStderr(line + "\n")
    }

    /// sd-daemon(3): SD_DEBUG is 7, SD_CRIT is 2.
    private static func priority(_ level: Logger.Level) -> Int {
        switch level {
        case .trace, .debug: 7
        case .info: 6
        case .notice: 5
        case .warning: 4
        case .error: 3
        case .critical: 2
        }
    }

    /// Quotes a value with spaces; a line break must not begin a line of its own, for guests write some of these texts.
    private static func quoted(_ value: String) -> String {
        let clean = String(value.unicodeScalars.map { $0.value < 0x20 || $0.value == 0x7f ? " " : Character($0) })
        return clean.contains(" ") ? "\"\(clean)\"" : clean
    }
}
