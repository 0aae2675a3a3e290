/// What became of a mutated kernel's salvage.
public enum Outcome: String, CaseIterable, Sendable {
    /// The checkpoint is the same, byte for byte.
    case none = "no effect"
    /// A verdict, a reason or a gap tells of it.
    case noticed
    /// The kernel is not understood any more, which refuses everything.
    case refused = "kernel refused"
    /// The checkpoint is another one, and nothing tells of it.
    case silent
    /// The salvager was ended by a signal.
    case crash
    /// It used more processor time than it may.
    case hang
    /// It used more memory than it may.
    case memory

    /// Whether the salvager itself has failed.
    public var isFailure: Bool { self == .crash || self == .hang || self == .memory }
}
