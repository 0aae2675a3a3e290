import ArgumentParser

/// Which Debian main runs: the kernel of a suite, and the CRIU of its time.
enum GuestSystem: String, CaseIterable, Sendable, ExpressibleByArgument {
    /// Linux 5.10 under the system of bookworm, for bullseye has no CRIU.
    case bullseye
    case bookworm
    /// The kernel that Debian builds for virtual machines.
    case bookwormCloud = "bookworm-cloud"
    case bookwormBackports = "bookworm-backports"
    case trixie, sid

    /// The suite that the kernel comes from.
    var kernelSuite: String { self == .bookwormCloud ? "bookworm" : rawValue }

    /// The package that depends on the suite's newest kernel.
    var kernelPackage: String { self == .bookwormCloud ? "linux-image-cloud-amd64" : "linux-image-amd64" }

    /// The suite that everything else comes from.
    var rootSuite: String {
        switch self {
        case .trixie, .sid: rawValue
        case .bullseye, .bookworm, .bookwormCloud, .bookwormBackports: "bookworm"
        }
    }
}
