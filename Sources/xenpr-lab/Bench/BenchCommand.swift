import ArgumentParser
import Foundation

struct Bench: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract:
            "Measures a recovery of one large process, each thing beside what a plain tool or a plain reboot takes in the same run."
    )

    @Option(help: "Memory in MiB of the protected process that is recovered on Xen.")
    var megabytes = 128
    @Option(help: "Memory in MiB of the protected process in the dump that is salvaged offline.")
    var offlineMegabytes = 512
    @Option(help: "A file that gets the measurements as JSON.")
    var report: String?

    func run() async throws {
        let setting = try await LabSetting.enter(on: .xen, packages: [], salvager: .minor)
        defer { setting.leave(keep: false) }
        var bench = BenchReport(offlineProcessBytes: offlineMegabytes << 20, processBytes: megabytes << 20)
        try await measureDump(setting, into: &bench)
        try await measureXen(setting, into: &bench)
        if let report { try bench.writeReport(to: report) }
        print(bench.text)
    }

    /// A recovery in QEMU leaves the dump of the dead kernel: it is salvaged again beside cp.
    private func measureDump(_ setting: LabSetting, into bench: inout BenchReport) async throws {
        let directory = try setting.part("qemu")
        // The guest has beyond the process what main has elsewhere.
        _ = try await recover(
            offlineMegabytes, on: setting.qemuMachine(in: directory, memoryMebibytes: offlineMegabytes + 768), setting,
            in: directory, kind: .qemu)
        setting.progress("salvaging the dump again, beside cp")
        let dump = "\(directory)/dump.elf"
        let target = "\(directory)/bench-target"
        let source = "\(directory)/bench-source"
        var salvageSeconds = Double.infinity
        var copySeconds = Double.infinity
        // In turn, and the best of three of each, so that what else the host does counts for neither.
        for _ in 0..<3 {
            try? FileManager.default.removeItem(atPath: target)
            let salvage = try await Measurement.run(
                setting.programs.xenpr, ["salvage", dump, "--registers", dump + ".registers", "--to", target])
            salvageSeconds = min(salvageSeconds, salvage.seconds)
            bench.peakBytes = max(bench.peakBytes ?? 0, salvage.peakBytes)
            let bytes = Int(try await Tool.require("du", ["-sb", target]).prefix { $0.isNumber }) ?? 0
            try await Tool.require(
                "/bin/sh", ["-c", "rm -f \(quoted(source))* && head -c \(bytes) \(quoted(dump)) > \(quoted(source))"])
            // Salvage makes durable what it writes.
            let copy = try await Measurement.run(
                "/bin/sh", ["-c", "cp \(quoted(source)) \(quoted(source)).copy && sync \(quoted(source)).copy"])
            copySeconds = min(copySeconds, copy.seconds)
            bench.offline = BenchReport.Throughput(
                bytes: bytes, salvageSeconds: salvageSeconds, other: "cp and sync", otherSeconds: copySeconds)
        }
    }

    /// A recovery on Xen, then as many bytes by dd to the same volume, then a plain crash and reboot of the same guest.
    private func measureXen(_ setting: LabSetting, into bench: inout BenchReport) async throws {
        let directory = try setting.part("xen")
        let machine = try setting.xenMachine(in: directory)
        let recovery = try await recover(megabytes, on: machine, setting, in: directory, kind: .xen)
        do {
            bench.phases = recovery.phases
            bench.takeoverSeconds = recovery.phases.first { $0.phase == "takeover" }?.seconds
            bench.downtimeSeconds = recovery.downtimeSeconds
            setting.progress("writing as many bytes to the volume with dd")
            if let salvage = recovery.phases.first(where: { $0.phase == "salvage" }) {
                let bytes = recovery.groups.compactMap(\.bytes).reduce(0, +)
                bench.volume = BenchReport.Throughput(
                    bytes: bytes, salvageSeconds: salvage.seconds, other: "dd",
                    otherSeconds: try await machine.writeVolumePlainly(bytes: bytes))
            }
            setting.progress("crashing main once more, for a plain reboot")
            bench.plainRebootSeconds = try await machine.crashAndRebootPlainly()
        } catch {
            await machine.shutdown()
            throw error
        }
        await machine.shutdown()
    }

    /// One recovery of the bench's case, which must succeed. The machine stays up.
    private func recover(
        _ megabytes: Int, on machine: any LabMachine, _ setting: LabSetting, in directory: String, kind: MachineKind
    ) async throws -> LabReport.Recovery {
        let definition = try BenchCase.write(megabytes: megabytes, to: "\(directory)/bench-memory")
        let run = LabRun(
            machine: machine, runners: [CaseRunner(definition, directory: directory)], trigger: .sysrq, salvager: .minor,
            report: LabReport(on: kind.rawValue, salvage: "minor", logs: directory), progress: setting.progress,
            staysUp: kind == .xen)
        let result = await run.run()
        if let failure = result.failure { throw LabFailure("cannot measure a recovery: \(failure)") }
        guard let recovery = result.recoveries.first, result.passed == 1 else {
            await machine.shutdown()
            throw LabFailure("cannot measure a recovery: \(result.cases.first?.message ?? "nothing was recovered")")
        }
        return recovery
    }
}
