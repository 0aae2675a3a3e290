import ArgumentParser
import Foundation

extension Trigger: ExpressibleByArgument {}
extension Salvager: ExpressibleByArgument {}
extension GuestType: ExpressibleByArgument {}

/// Where main runs.
enum MachineKind: String, CaseIterable, ExpressibleByArgument {
    case xen, qemu
}

struct Run: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Boots once, starts all cases in main, crashes main's kernel, waits for recovery, and checks each case.")

    @Option(help: "Where main runs: as a domain of a real Xen, or in QEMU alone.")
    var on = MachineKind.xen
    @Option(help: "Which Debian main runs, with the kernel and the CRIU of its time.")
    var guest = GuestSystem.bookworm
    @Option(help: "Who reads the dead kernel's memory; in QEMU it is always the host.")
    var salvage = Salvager.minor
    @Option(help: "How Xen runs main; a PV guest only the control domain can salvage.")
    var type = GuestType.pvh
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
    @Flag(
        help: ArgumentHelp(
            "Also record what /proc and CRIU say of the processes just before the crash, as file.truth beside the dump."))
    var truth = false
    @Flag(help: "Go on with what 'faults' does, on the same host, when all has passed (only --on xen).")
    var faults = false
    @Argument(help: "Case directories, or directories of case directories.")
    var cases: [String]

    func validate() throws {
        if dump != nil, on != .qemu { throw ValidationError("--dump needs --on qemu") }
        if faults, on != .xen || type != .pvh || salvage != .minor {
            throw ValidationError("--faults needs --on xen, with the usual guest and a minor")
        }
        if type == .pv, on != .xen || salvage != .control {
            throw ValidationError("--type pv needs --on xen and --salvage control")
        }
        if truth, dump == nil { throw ValidationError("--truth needs --dump: the record is put beside the dump") }
    }

    func run() async throws {
        let definitions = try CaseDefinition.load(cases)
        let packages = definitions.reduce(into: Set()) { $0.formUnion($1.packages) }
        let setting = try await LabSetting.enter(on: on, guest: guest, packages: packages, salvager: salvage, type: type)
        defer { setting.leave(keep: keep) }
        let machine = try setting.machine()
        let run = LabRun(
            machine: machine, runners: definitions.map { CaseRunner($0, directory: setting.directory) },
            trigger: trigger, salvager: salvage,
            report: LabReport(on: on.rawValue, guest: guest.rawValue, salvage: salvage.rawValue, logs: setting.directory),
            progress: setting.progress, staysUp: faults,
            truth: truth ? dump.map { TruthRecord(directory: $0 + ".truth") } : nil)
        let result = await run.run()
        if let report { try result.writeReport(to: report) }
        if let dump { try Self.keepDump(of: setting.directory, as: dump) }
        // At once, before what else is said of this run: a pipe would get it at the program's end.
        FileHandle.standardOutput.write(Data((Summary.text(of: result) + "\n").utf8))
        let hasPassed = result.failed == 0 && result.failure == nil
        if faults, result.failure == nil {
            guard hasPassed, let host = machine as? XenMachine else {
                await machine.shutdown()
                throw ExitCode(1)
            }
            try await Self.breakParts(of: host, setting)
        }
        if !hasPassed { throw ExitCode(1) }
    }

    private static func breakParts(of host: XenMachine, _ setting: LabSetting) async throws {
        let results = await FaultSession(host, isUp: true, progress: setting.progress).run(Faults.usual)
        print(results.text(logs: setting.directory))
        if !results.havePassed { throw ExitCode(1) }
    }

    /// Moves the dump and the registers that belong to it.
    private static func keepDump(of directory: String, as path: String) throws {
        for suffix in ["", ".registers"] {
            try? FileManager.default.removeItem(atPath: path + suffix)
            try FileManager.default.moveItem(atPath: "\(directory)/dump.elf\(suffix)", toPath: path + suffix)
        }
    }
}
