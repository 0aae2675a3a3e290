import ArgumentParser
import Foundation

struct Bench: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Measures a recovery of one large process, each thing beside what a plain tool or a plain reboot takes.")

    @Option(help: "Where main runs: as a domain of a real Xen, or in QEMU alone.")
    var on = MachineKind.qemu
    @Option(help: "Memory of the protected process in MiB.")
    var megabytes = 128
    @Option(help: "A file that gets the measurements as JSON.")
    var report: String?

    func run() async throws {
        let setting = try await LabSetting.enter(on: on, packages: [], salvager: .minor)
        defer { setting.leave(keep: false) }
        var bench = BenchReport(on: on.rawValue, processBytes: megabytes << 20)

        let definition = try BenchCase.write(megabytes: megabytes, to: "\(setting.directory)/bench-memory")
        let run = LabRun(
            machine: setting.machine(), runners: [CaseRunner(definition, directory: setting.directory)], trigger: .sysrq,
            salvager: .minor, report: LabReport(on: on.rawValue, salvage: "minor", logs: setting.directory),
            progress: setting.progress)
        let result = await run.run()
        if let failure = result.failure { throw LabFailure("cannot measure a recovery: \(failure)") }
        guard let recovery = result.recoveries.first, result.passed == 1 else {
            throw LabFailure("cannot measure a recovery: \(result.cases.first?.message ?? "nothing was recovered")")
        }
        bench.phases = recovery.phases
        bench.takeoverSeconds = recovery.phases.first { $0.phase == "salvaging" }?.start
        bench.downtimeSeconds = recovery.downtimeSeconds
        if on == .qemu {
            setting.progress("salvaging the dump again, beside cp")
            try await measureOffline(setting, into: &bench)
            setting.progress("crashing main once more, for a plain reboot")
            bench.plainRebootSeconds = try await setting.plainReboot()
        }
        if let report { try bench.json.write(toFile: report, atomically: true, encoding: .utf8) }
        print(bench.text)
    }

    /// Salvages the run's dump and copies as many bytes of it, in turn; the best of three of each, so that what else the host does
    /// counts for neither.
    private func measureOffline(_ setting: LabSetting, into bench: inout BenchReport) async throws {
        let dump = "\(setting.directory)/dump.elf"
        let target = "\(setting.directory)/bench-target"
        let source = "\(setting.directory)/bench-source"
        var salvageSeconds = Double.infinity
        var copySeconds = Double.infinity
        for _ in 0..<3 {
            try? FileManager.default.removeItem(atPath: target)
            let salvage = try await Measurement.run(
                setting.programs.xenpr, ["salvage", dump, "--registers", dump + ".registers", "--to", target])
            salvageSeconds = min(salvageSeconds, salvage.seconds)
            bench.peakBytes = max(bench.peakBytes ?? 0, salvage.peakBytes)
            let bytes = Int(try await Tool.require("du", ["-sb", target]).prefix { $0.isNumber }) ?? 0
            try await Tool.require("/bin/sh", ["-c", "head -c \(bytes) \(quoted(dump)) > \(quoted(source))"])
            let copy = try await Measurement.run("cp", [source, source + ".copy"])
            copySeconds = min(copySeconds, copy.seconds)
            bench.offline = BenchReport.Throughput(
                bytes: bytes, salvageSeconds: salvageSeconds, other: "cp", otherSeconds: copySeconds)
        }
    }
}

/// The case whose recovery is measured: a process with random memory, whose hash is compared afterwards.
enum BenchCase {
    private static let start = """
        #!/bin/sh
        python3 memory.py SIZE > /dev/null 2>&1 < /dev/null &
        until [ -s ready ]; do sleep 0.2; done

        """

    private static let memory = """
        import hashlib, os, signal, sys
        data = bytearray()
        while len(data) < int(sys.argv[1]) << 20: data += os.urandom(1 << 20)
        def answer(*_):
            with open("answer.new", "w") as file: file.write(hashlib.sha256(data).hexdigest())
            os.rename("answer.new", "answer")
        signal.signal(signal.SIGUSR1, answer)
        with open("ready.new", "w") as file: file.write(f"{os.getpid()} {hashlib.sha256(data).hexdigest()}")
        os.rename("ready.new", "ready")
        while True: signal.pause()

        """

    private static let check = """
        #!/bin/sh
        read -r pid hash < ready
        kill -USR1 "$pid" || exit 1
        tries=0
        until [ -s answer ]; do tries=$((tries + 1)); [ $tries -lt 600 ] || { echo "no answer"; exit 1; }; sleep 0.2; done
        [ "$(cat answer)" = "$hash" ] && echo "the memory is as it was"

        """

    static func write(megabytes: Int, to directory: String) throws -> CaseDefinition {
        try FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: true)
        let files = [
            ("start", start.replacingOccurrences(of: "SIZE", with: String(megabytes))), ("check", check), ("memory.py", memory),
            ("case.toml", "expect = \"full\"\n"),
        ]
        for (name, text) in files {
            try text.write(toFile: "\(directory)/\(name)", atomically: false, encoding: .utf8)
            try FileManager.default.setAttributes([.posixPermissions: 0o755], ofItemAtPath: "\(directory)/\(name)")
        }
        guard let definition = try CaseDefinition.load([directory]).first else {
            throw LabFailure("cannot read the case that was written to \(directory)")
        }
        return definition
    }
}
