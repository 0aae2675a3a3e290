import ArgumentParser
import Foundation

extension Trigger: ExpressibleByArgument {}
extension Salvager: ExpressibleByArgument {}

/// Where main runs.
enum MachineKind: String, CaseIterable, ExpressibleByArgument {
    case xen, qemu
}

struct Run: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Boots once, starts all cases in main, crashes main's kernel, waits for recovery, and checks each case.")

    @Option(help: "Where main runs: as a domain of a real Xen, or in QEMU alone.")
    var on = MachineKind.xen
    @Option(help: "Who reads the dead kernel's memory; in QEMU it is always the host.")
    var salvage = Salvager.minor
    @Option(help: "What ends main's kernel.")
    var trigger = Trigger.sysrq
    @Option(help: "A file that gets the report as JSON.")
    var report: String?
    @Flag(help: "Keep the disks and the memory dump of the run, beside the logs that are always kept.")
    var keep = false
    @Option(
        help: ArgumentHelp(
            "Keep the dump of the dead kernel as this file, for the dump tests (only --on qemu).", valueName: "file"))
    var dump: String?
    @Argument(help: "Case directories, or directories of case directories.")
    var cases: [String]

    func run() async throws {
        let cache = try Cache()
        let progress = Progress()
        let definitions = try CaseDefinition.load(cases)
        let programs = try Programs.find()
        let packages = definitions.reduce(into: Set()) { $0.formUnion($1.packages) }
        let image = try await MainImage.make(packages: packages, agent: programs.agent, in: cache, progress: progress)
        let xen = on == .xen ? try await XenImages.make(for: image, in: cache, progress: progress) : nil
        // Images need the host's network; all the rest happens in namespaces of its own.
        guard LabNetwork.isInside else { try LabNetwork.enter() }
        EndOnSignals.install()
        try await LabNetwork.setUp()

        let directory = try cache.makeRunDirectory()
        let sockets = try Self.makeSocketDirectory()
        defer { try? FileManager.default.removeItem(atPath: sockets) }
        progress("logs of this run: \(directory)")
        let machine: any LabMachine
        if let xen {
            machine = XenMachine(
                image: image, hypervisor: xen.hypervisor, controlDomain: xen.control, programs: programs, salvager: salvage,
                cache: cache, directory: directory, sockets: sockets, progress: progress)
        } else {
            machine = QEMUMachine(image: image, programs: programs, directory: directory, sockets: sockets, progress: progress)
        }
        let run = LabRun(
            machine: machine, runners: definitions.map { CaseRunner($0, directory: directory) }, trigger: trigger,
            salvager: salvage, report: LabReport(on: on.rawValue, salvage: salvage.rawValue, logs: directory),
            progress: progress)
        let result = await run.run()
        if let report { try result.write(to: report) }
        if let dump { try Self.keepDump(of: directory, as: dump) }
        if !keep { Self.removeLargeFiles(in: directory) }
        print(Summary.text(of: result))
        if result.failed > 0 || result.failure != nil { throw ExitCode(1) }
    }

    /// A short path, because the sockets of ssh are in it.
    private static func makeSocketDirectory() throws -> String {
        let path = "/tmp/xenpr-lab-\(UUID().uuidString.prefix(8).lowercased())"
        try FileManager.default.createDirectory(
            atPath: path, withIntermediateDirectories: true, attributes: [.posixPermissions: 0o700])
        return path
    }

    /// Moves the dump and the registers that belong to it.
    private static func keepDump(of directory: String, as path: String) throws {
        for suffix in ["", ".registers"] {
            try? FileManager.default.removeItem(atPath: path + suffix)
            try FileManager.default.moveItem(atPath: "\(directory)/dump.elf\(suffix)", toPath: path + suffix)
        }
    }

    private static func removeLargeFiles(in directory: String) {
        let names = (try? FileManager.default.contentsOfDirectory(atPath: directory)) ?? []
        for name in names where !name.hasSuffix(".log") && !name.hasSuffix(".registers") {
            try? FileManager.default.removeItem(atPath: "\(directory)/\(name)")
        }
    }
}
