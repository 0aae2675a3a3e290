import Foundation

/// All that a run needs before a machine can be started: programs, images, namespaces, and a directory.
struct LabSetting: Sendable {
    let cache: Cache
    let programs: Programs
    let image: MainImage
    /// What a real Xen boots from; nil in QEMU mode.
    let xen: XenImages?
    let salvager: Salvager
    /// Where the logs, disks and dumps of this run are.
    let directory: String
    /// A short path, because the sockets of ssh are in it.
    let sockets: String
    let progress: Progress

    /// Makes the images, then enters the namespaces of the run, in which the program starts again from its beginning.
    static func enter(on kind: MachineKind, packages: Set<String>, salvager: Salvager) async throws -> LabSetting {
        let cache = try Cache()
        let progress = Progress()
        let programs = try Programs.find()
        let image = try await MainImage.make(packages: packages, agent: programs.agent, in: cache, progress: progress)
        let xen = kind == .xen ? try await XenImages.make(for: image, in: cache, progress: progress) : nil
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
            cache: cache, programs: programs, image: image, xen: xen, salvager: salvager, directory: directory,
            sockets: sockets, progress: progress)
    }

    func machine() -> any LabMachine {
        guard let xen else { return qemuMachine(directory: directory) }
        return XenMachine(
            image: image, hypervisor: xen.hypervisor, controlDomain: xen.control, programs: programs, salvager: salvager,
            cache: cache, directory: directory, sockets: sockets, progress: progress)
    }

    /// Boots main in QEMU, crashes it and boots it again with nothing recovered. Returns the seconds from the crash until it takes
    /// commands.
    func plainReboot() async throws -> Double {
        let directory = "\(directory)/plain"
        try FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: true)
        let machine = qemuMachine(directory: directory)
        do {
            try await machine.boot()
            try await machine.main.require("sync")
            try await machine.crash(.sysrq)
            let seconds = try await machine.rebootPlainly()
            await machine.shutdown()
            return seconds
        } catch {
            await machine.shutdown()
            throw error
        }
    }

    private func qemuMachine(directory: String) -> QEMUMachine {
        QEMUMachine(image: image, programs: programs, directory: directory, sockets: sockets, progress: progress)
    }

    /// Removes all but the logs, unless everything is to be kept.
    func leave(keep: Bool) {
        try? FileManager.default.removeItem(atPath: sockets)
        guard !keep else { return }
        let names = (try? FileManager.default.contentsOfDirectory(atPath: directory)) ?? []
        for name in names where !name.hasSuffix(".log") && !name.hasSuffix(".registers") {
            try? FileManager.default.removeItem(atPath: "\(directory)/\(name)")
        }
    }
}
