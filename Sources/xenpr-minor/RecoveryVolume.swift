import CLinux
import Glibc

/// The disk that the checkpoints go to: ext4, labelled xenpr-recovery, the minor's second virtual disk.
///
/// It is mounted only while a salvage writes, so that nothing of an idle minor is ever on it.
enum RecoveryVolume {
    static let device = "/dev/xvdb"
    static let directory = "/mnt"

    /// Mounts the volume. The device node is made by the kernel when the disk's driver has met its back end, which an
    /// armed minor has long done.
    static func mount() throws(MinorFailure) {
        // String literals, which live as long as the call.
        guard unsafe xpr_mount(device, directory, "ext4", "") == 0 else { throw .last("mount the recovery volume \(device)") }
    }

    /// Unmounts it, with all that was written.
    static func unmount() throws(MinorFailure) {
        sync()
        // A string literal, which lives as long as the call.
        guard unsafe xpr_unmount(directory) == 0 else { throw .last("unmount the recovery volume") }
    }
}
