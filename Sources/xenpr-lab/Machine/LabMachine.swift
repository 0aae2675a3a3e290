import Foundation

/// What ends main's kernel; each comes from within that kernel.
enum Trigger: String, CaseIterable, Sendable {
    /// `echo c > /proc/sysrq-trigger`.
    case sysrq
    /// An unknown NMI, with kernel.unknown_nmi_panic set.
    case nmi
    /// Memory runs out with vm.panic_on_oom set.
    case oomPanic = "oom-panic"
    /// The kernel stops making progress and a watchdog outside ends it.
    case hung
}

/// Who reads the dead kernel's memory.
enum Salvager: String, CaseIterable, Sendable {
    case minor, control
}

/// One way of having a main guest that crashes and recovers: plain QEMU, or a domain of a real Xen.
///
/// The runner calls ``boot()``, works in ``main`` and ``control``, calls ``crash(_:)`` and ``recover(by:)``, works in `main`
/// again, and calls ``shutdown()`` last, whatever happened before.
protocol LabMachine: Sendable {
    /// Commands in main; valid after ``boot()`` and again after ``recover(by:)``.
    var main: SSHShell { get }
    /// Commands in the control domain; the host itself in QEMU mode.
    var control: any Shell { get }

    /// Brings main to the point where ``main`` takes commands, protected.
    func boot() async throws
    /// Crashes main's kernel and returns once it is seen to be dead.
    func crash(_ trigger: Trigger) async throws
    /// From the dead kernel to a rebooted main in which the agent has finished.
    func recover(by salvager: Salvager) async throws -> RecoveryRecord
    /// Watches what the emulator and the hypervisor say, and throws when a guest is lost to a fault of theirs; returns at once where
    /// there is nothing to watch.
    func watch() async throws
    /// Ends all guests. Never throws: what cannot be ended nicely is killed.
    func shutdown() async
}

extension LabMachine {
    func watch() async throws {}
}

/// A stretch of a recovery, with times in seconds from the crash.
struct Phase: Sendable, Codable {
    /// A word of the life of a protected guest: crashed, salvaging, rebooting, restoring.
    let phase: String
    /// Seconds from the crash to the start of the phase.
    let start: Double
    let seconds: Double
    var bytes: Int?
    var pages: Int?
}

/// What is known after a recovery, whichever machine it was on.
struct RecoveryRecord: Sendable {
    /// When the crash was seen, by the host's clock.
    var crashedAt = Date()
    var phases: [Phase] = []
    /// recovery.json as salvage wrote it; nil when it is not there.
    var recovery: String?
    /// report.json as the agent wrote it; nil when it is not there.
    var report: String?
    /// Who salvaged in the end: "minor", "control" or "offline".
    var salvagedBy = ""
    /// What xenprd said of the recovery as a whole, such as why nothing was restored.
    var reasons: [String] = []
    /// Where on the recovery volume the images were kept for a look; nil when they were not.
    var kept: String?
}
