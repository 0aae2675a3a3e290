import CXen

/// The number that Xen gives a domain for its life; 0 is the control domain. A number is not used again soon.
public struct DomainID: RawRepresentable, Hashable, Comparable, Sendable, CustomStringConvertible {
    public var rawValue: UInt32
    public init(rawValue: UInt32) { self.rawValue = rawValue }
    public init(_ rawValue: UInt32) { self.rawValue = rawValue }

    public static let control = DomainID(0)
    /// The domain's own directory in xenstore.
    public var storePath: String { "/local/domain/\(rawValue)" }
    public var description: String { "\(rawValue)" }

    public static func < (left: Self, right: Self) -> Bool { left.rawValue < right.rawValue }
}

/// Why a domain stopped: SHUTDOWN_* of xen/include/public/sched.h.
public enum ShutdownReason: UInt32, Sendable {
    case poweroff = 0
    case reboot = 1
    case suspend = 2
    /// The guest's kernel panicked, or Xen ended the domain for a fault of its own.
    case crash = 3
    /// Xen's watchdog for the domain ran out.
    case watchdog = 4
    case softReset = 5
}

/// What Xen knows of a domain: `xen_domctl_getdomaininfo` of xen/include/public/domctl.h.
public struct DomainInfo: Hashable, Sendable {
    public var id: DomainID
    /// Destroyed, but something still holds its memory.
    public var isDying: Bool
    public var isPaused: Bool
    /// PVH and HVM guests; false for PV.
    public var isHVM: Bool
    /// Why the domain stopped; nil while it runs. A reason newer than this program counts as a crash.
    public var shutdown: ShutdownReason?
    /// Memory the domain has now, in frames of 4 KiB.
    public var frames: UInt64
    /// The vCPUs that are online; `highestVCPU` is the highest number that exists.
    public var onlineVCPUs: Int
    public var highestVCPU: Int
    /// CPU time the domain has used, in seconds.
    public var cpuSeconds: Double
    /// The 16 bytes of the domain's UUID.
    public var uuid: [UInt8]

    /// Whether the domain stopped because its kernel died: a panic, or a watchdog that found it hung.
    public var isCrashed: Bool { shutdown == .crash || shutdown == .watchdog }

    init(_ info: xc_domaininfo_t) {
        id = DomainID(UInt32(info.domain))
        isDying = info.flags & UInt32(XEN_DOMINF_dying) != 0
        isPaused = info.flags & UInt32(XEN_DOMINF_paused) != 0
        isHVM = info.flags & UInt32(XEN_DOMINF_hvm_guest) != 0
        if info.flags & UInt32(XEN_DOMINF_shutdown) != 0 {
            let reason = (info.flags >> UInt32(XEN_DOMINF_shutdownshift)) & UInt32(XEN_DOMINF_shutdownmask)
            shutdown = ShutdownReason(rawValue: reason) ?? .crash
        } else {
            shutdown = nil
        }
        frames = info.tot_pages
        onlineVCPUs = Int(info.nr_online_vcpus)
        highestVCPU = Int(info.max_vcpu_id)
        cpuSeconds = Double(info.cpu_time) / 1e9
        // The handle is a tuple of 16 bytes; it is copied byte by byte while the local value is alive.
        uuid = unsafe withUnsafeBytes(of: info.handle) { unsafe Array($0) }
    }
}
