import DaemonAPI
import Recovery

/// What lies on a block device, as far as it matters for a recovery volume.
public enum VolumeState: Sendable, Equatable {
    /// ext4 with the label `xenpr-recovery`.
    case ready
    /// Nothing is on it.
    case blank
    /// Something else, which must not be touched: what `blkid` calls it.
    case foreign(String)
    /// Not there, or not a block device; the reason.
    case unusable(String)
}

/// The Xen host that the daemon works on; tests replace it by a simulated one.
public protocol DaemonHost: Sendable {
    associatedtype Guest: GuestHost

    func guest(_ name: String) -> Guest
    /// A value each time that something on the host may have changed.
    func changes() -> AsyncStream<Void>
    func configuration(of guest: String, at path: String) async throws(WorldFailure) -> MainConfiguration
    func volumeState(_ path: String) async -> VolumeState
    func formatVolume(_ path: String) async throws(WorldFailure)
    /// Checks of the host itself.
    func hostChecks() async -> [Check]
    /// Checks of one guest's world.
    func guestChecks(_ record: ProtectionRecord) async -> [Check]
}
