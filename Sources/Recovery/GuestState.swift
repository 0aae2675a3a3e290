/// Where a guest is in its protected life; operators see these names in `xenpr status`.
///
///     unprotected → arming → armed → crashed → salvaging → rebooting → restoring → recovered | degraded | failed → arming …
public enum GuestState: String, Codable, Sendable, CaseIterable {
    /// xenprd does nothing for this guest.
    case unprotected
    /// A minor is being started and learns main's kernel; or main is not there yet.
    case arming
    /// A crash of main would be recovered.
    case armed
    /// main's kernel has panicked; nothing has been done about it yet.
    case crashed
    /// The dead main is being read, by the minor or in the control domain.
    case salvaging
    /// The dead main is destroyed and created anew.
    case rebooting
    /// main is up again and its agent restores the checkpoints.
    case restoring
    /// Each group came back whole.
    case recovered
    /// main is up, some of the work came back.
    case degraded
    /// main is up as after a plain reboot, or it cannot be protected; the reason is beside it.
    case failed

    /// Whether main is dead or on its way back, so that nothing may be done but bring it back.
    public var isRecovering: Bool {
        switch self {
        case .crashed, .salvaging, .rebooting, .restoring: true
        case .unprotected, .arming, .armed, .recovered, .degraded, .failed: false
        }
    }
}

/// A moment in Unix seconds, as journals and reports carry it.
public struct Timestamp: Codable, Sendable, Hashable, Comparable {
    public var unixSeconds: Double

    public init(unixSeconds: Double) {
        self.unixSeconds = unixSeconds
    }

    public init(from decoder: any Decoder) throws {
        unixSeconds = try decoder.singleValueContainer().decode(Double.self)
    }

    public func encode(to encoder: any Encoder) throws {
        var container = encoder.singleValueContainer()
        try container.encode(unixSeconds)
    }

    public static func < (left: Timestamp, right: Timestamp) -> Bool { left.unixSeconds < right.unixSeconds }
    public static func + (left: Timestamp, seconds: Double) -> Timestamp { Timestamp(unixSeconds: left.unixSeconds + seconds) }
    /// The seconds from `right` to `left`; negative when `right` is the later one.
    public static func - (left: Timestamp, right: Timestamp) -> Double { left.unixSeconds - right.unixSeconds }
}
