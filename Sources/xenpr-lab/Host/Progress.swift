import Foundation

/// The lines that a run prints on standard error while it works, each with the seconds since the start.
struct Progress: Sendable {
    private let start = ContinuousClock.now

    func callAsFunction(_ line: String) {
        let seconds = (ContinuousClock.now - start).seconds
        FileHandle.standardError.write(Data("[\(seconds.padded(7))] \(line)\n".utf8))
    }
}

extension Duration {
    /// The duration in seconds.
    var seconds: Double {
        Double(components.seconds) + Double(components.attoseconds) * 1e-18
    }
}

extension Double {
    /// With one digit after the point, filled with spaces on the left.
    func padded(_ width: Int) -> String {
        let text = String(format: "%.1f", self)
        return String(repeating: " ", count: max(0, width - text.count)) + text
    }
}
