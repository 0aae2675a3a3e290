/// How much of a process or a group can be brought back.
public enum Verdict: String, Sendable, Hashable, Comparable, CaseIterable {
    /// Everything it held comes back as it was.
    case full
    /// It runs on, but something named in the reasons is lost or different.
    case degraded
    /// It is not restored, for it would run on with wrong state.
    case refused

    private var rank: Int {
        switch self {
        case .full: 0
        case .degraded: 1
        case .refused: 2
        }
    }

    public static func < (left: Verdict, right: Verdict) -> Bool { left.rank < right.rank }
}

/// Something that cannot be brought back exactly, and what that means for whom.
public struct Obstacle: Sendable, Hashable {
    public enum Severity: Sendable, Hashable {
        /// The process runs on without it.
        case degraded
        /// The process must not run on without it.
        case refused
    }

    public var severity: Severity
    /// The process it concerns; nil: the whole group.
    public var pid: Int32?
    /// For an operator, lower case, without the pid: "1 unix socket to a process outside the group".
    public var reason: String

    public init(_ severity: Severity, pid: Int32?, reason: String) {
        self.severity = severity
        self.pid = pid
        self.reason = reason
    }

    public var verdict: Verdict { severity == .refused ? .refused : .degraded }
}
