import ArgumentParser
import Foundation

struct Bench: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract:
            "Measures recovery, each thing beside what a plain tool or a plain reboot takes in the same run."
    )

    @Option(help: "Memory in MiB of the protected process that is recovered on Xen.")
    var megabytes = 128
    @Option(help: "Memory in MiB of each of the two large processes in the dump that is salvaged offline.")
    var offlineMegabytes = 512
    @Option(help: "Small processes in that dump.")
    var processes = 200
    @Flag(help: "Measure the dump only.")
    var offline = false
    @Flag(help: "Keep disks and dumps of the run, not only its logs.")
    var keep = false
    @Option(help: "A file that gets the measurements as JSON.")
    var report: String?

    func run() async throws {
        // Before the run enters its namespaces, from which the host's network cannot be reached.
        let drgn = await Self.drgn()
        let setting = try await LabSetting.enter(on: offline ? .qemu : .xen, packages: [], salvager: .minor)
        defer { setting.leave(keep: keep) }
        var bench = BenchReport(offlineProcessBytes: offlineMegabytes << 20, processBytes: megabytes << 20)
        do {
            try await measureDump(setting, drgn: drgn, into: &bench)
            if !offline { try await measureXen(setting, into: &bench) }
        } catch {
            // What was measured until then took minutes.
            print(bench.text)
            throw error
        }
        if let report { try bench.writeReport(to: report) }
        print(bench.text)
    }

    /// A guest in QEMU that has crashed leaves a dump, from which the host takes what is to be measured.
    private func measureDump(_ setting: LabSetting, drgn: Result<Drgn, LabFailure>, into bench: inout BenchReport) async throws
    {
        let directory = try setting.part("qemu")
        let groups = BenchGroups(mebibytes: offlineMegabytes, processes: processes, seed: .random(in: 1...(.max)))
        // The guest has beyond the processes what main has elsewhere.
        let dump = try await setting.dump(
            ofGuestWith: BenchGroups.Kind.allCases.map { try groups.write($0, to: "\(directory)/bench") },
            memoryMebibytes: 2 * offlineMegabytes + 768 + processes, in: directory)
        let measured = DumpBench(setting: setting, groups: groups, dump: dump, directory: directory)
        try await measured.salvage(into: &bench)
        for kind in [BenchGroups.Kind.scattered, .huge] { bench.extractions.append(try await measured.extract(kind)) }
        bench.listing = try await measured.list(beside: drgn)
    }

    /// The tool that is compared with, or why it cannot be had.
    private static func drgn() async -> Result<Drgn, LabFailure> {
        do {
            return .success(try await Drgn.make(for: .bookworm, in: Cache(), progress: Progress()))
        } catch let failure as LabFailure {
            return .failure(failure)
        } catch {
            return .failure(LabFailure("\(error)"))
        }
    }

    /// A recovery on Xen, then as many bytes by dd to the same volume, then a plain crash and reboot of the same guest.
    private func measureXen(_ setting: LabSetting, into bench: inout BenchReport) async throws {
        let directory = try setting.part("xen")
        let machine = try setting.xenMachine(in: directory)
        let recovery = try await recover(megabytes, on: machine, setting, in: directory)
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
        _ megabytes: Int, on machine: any LabMachine, _ setting: LabSetting, in directory: String
    ) async throws -> LabReport.Recovery {
        let definition = try BenchCase.write(megabytes: megabytes, to: "\(directory)/bench-memory")
        let run = LabRun(
            machine: machine, runners: [CaseRunner(definition, directory: directory)], trigger: .sysrq, salvager: .minor,
            report: LabReport(on: MachineKind.xen.rawValue, salvage: "minor", logs: directory), progress: setting.progress,
            staysUp: true)
        let result = await run.run()
        if let failure = result.failure { throw LabFailure("cannot measure a recovery: \(failure)") }
        guard let recovery = result.recoveries.first, result.passed == 1 else {
            await machine.shutdown()
            throw LabFailure("cannot measure a recovery: \(result.cases.first?.message ?? "nothing was recovered")")
        }
        return recovery
    }
}
