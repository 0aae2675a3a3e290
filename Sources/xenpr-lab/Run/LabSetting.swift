import Foundation

/// All that a run needs before a machine can be started: programs, images, namespaces, and a directory.
struct LabSetting: Sendable {
    let cache: Cache
    let programs: Programs
    let image: MainImage
    /// What a real Xen boots from; nil in QEMU mode.
    let xen: XenImages?
    let salvager: Salvager
    let type: GuestType
    /// Where the logs, disks and dumps of this run are.
    let directory: String
    /// A short path, because the sockets of ssh are in it.
    let sockets: String
    let progress: Progress

    /// Makes the images, then enters the namespaces of the run, in which the program starts again from its beginning.
    static func enter(
        on kind: MachineKind, guest: GuestSystem = .bookworm, packages: Set<String>, salvager: Salvager,
        type: GuestType = .pvh
    ) async throws -> LabSetting {
        let cache = try Cache()
        let progress = Progress()
        let programs = try Programs.find()
        let image = try await MainImage.make(guest, packages: packages, agent: programs.agent, in: cache, progress: progress)
        let xen = kind == .xen ? try await XenImages.make(key: image.key, in: cache, progress: progress) : nil
        // Images need the host's network; all the rest happens in namespaces of its own.
        guard LabNetwork.isInside else { try LabNetwork.enter() }
        EndOnSignals.install()
        try await LabNetwork.setUp()

        let directory = try cache.makeRunDirectory()
        let sockets = "/tmp/xenpr-lab-\(UUID().uuidString.prefix(8).lowercased())"
        try FileManager.default.createDirectory(
            atPath: sockets, withIntermediateDirectories: true, attributes: [.posixPermissions: 0o700])
        progress("logs of this run: \(directory)")
        return LabSetting(
            cache: cache, programs: programs, image: image, xen: xen, salvager: salvager, type: type, directory: directory,
            sockets: sockets, progress: progress)
    }

    func machine() throws -> any LabMachine {
        xen == nil ? qemuMachine(in: directory) : try xenMachine(in: directory)
    }

    /// A real Xen, with its logs and disks in `directory`.
    func xenMachine(in directory: String) throws -> XenMachine {
        guard let xen else { throw LabFailure("no Xen was made ready for this run") }
        return XenMachine(
            image: image, xen: xen, programs: programs, salvager: salvager, type: type,
            cache: cache, directory: directory, sockets: sockets, progress: progress)
    }

    /// QEMU alone, with its logs and disks in `directory`.
    func qemuMachine(in directory: String, memoryMebibytes: Int = 1024) -> QEMUMachine {
        QEMUMachine(
            image: image, programs: programs, directory: directory, sockets: sockets, progress: progress,
            memoryMebibytes: memoryMebibytes)
    }

    /// Removes all but the logs, unless everything is to be kept.
    func leave(keep: Bool) {
        try? FileManager.default.removeItem(atPath: sockets)
        if !keep { removeAllButLogs(in: directory) }
    }

    private func removeAllButLogs(in directory: String) {
        let manager = FileManager.default
        for name in (try? manager.contentsOfDirectory(atPath: directory)) ?? [] {
            let path = "\(directory)/\(name)"
            if name.hasPrefix(Self.partPrefix) {
                removeAllButLogs(in: path)
            } else if !name.hasSuffix(".log") && !name.hasSuffix(".registers") {
                try? manager.removeItem(atPath: path)
            }
        }
    }

    /// Directories below that of the run, for what needs several machines one after the other.
    private static let partPrefix = "part-"

    /// Makes one of these directories.
    func part(_ name: String) throws -> String {
        let path = "\(directory)/\(Self.partPrefix)\(name)"
        try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
        return path
    }
}
