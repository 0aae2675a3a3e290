extension String {
    /// Words of a guest's, for an operator's terminal and log: without control characters, which a terminal would obey, and no longer than a line or two.
    public var asForeignText: String {
        String(String.UnicodeScalarView(unicodeScalars.prefix(Self.longest).map { Self.isControl($0) ? "?" : $0 }))
    }

    private static let longest = 2000

    private static func isControl(_ scalar: Unicode.Scalar) -> Bool {
        scalar.value < 0x20 || (0x7f..<0xa0).contains(scalar.value)
    }
}

extension AgentReport {
    /// The same without what main might have hidden in its words.
    public var withPlainText: AgentReport {
        var report = self
        report.failure = failure?.asForeignText
        report.groups = groups.map { group in
            var group = group
            group.name = group.name.asForeignText
            group.outcome = group.outcome.asForeignText
            group.reason = group.reason?.asForeignText
            return group
        }
        return report
    }
}
