import Foundation

/// One boot, one crash, one recovery, with all the given cases.
actor LabRun {
    private let machine: any LabMachine
    private let runners: [CaseRunner]
    private let trigger: Trigger
    private let salvager: Salvager
    /// Whether the machine is left running, for the caller to go on with.
    private let staysUp: Bool
    private let progress: Progress
    /// What is recorded just before the crash; nil: nothing.
    private let truth: TruthRecord?
    private var report: LabReport
    /// Indices into `runners` of the cases that are still in the run.
    private var alive: [Int]
    private var clients: [Client] = []

    init(
        machine: any LabMachine, runners: [CaseRunner], trigger: Trigger, salvager: Salvager, report: LabReport,
        progress: Progress, staysUp: Bool = false, truth: TruthRecord? = nil
    ) {
        self.machine = machine
        self.runners = runners
        self.trigger = trigger
        self.salvager = salvager
        self.progress = progress
        self.staysUp = staysUp
        self.truth = truth
        self.report = report
        alive = Array(runners.indices)
        self.report.cases = runners.map {
            LabReport.Case(name: $0.name, result: .failed, message: "not reached", expect: $0.definition.expect)
        }
    }

    /// Runs everything; whatever goes wrong is in the report, never thrown.
    func run() async -> LabReport {
        let start = ContinuousClock.now
        do {
            try await withThrowingTaskGroup(of: Bool.self) { group in
                group.addTask {
                    try await self.machine.watch()
                    return false
                }
                group.addTask {
                    try await self.phases()
                    return true
                }
                while try await group.next() == false {}
                group.cancelAll()
            }
        } catch {
            report.failure = "\(error)"
            progress("failed: \(error)")
            for index in alive { report.cases[index].message = "not checked: \(error)" }
        }
        if !staysUp || report.failure != nil { await machine.shutdown() }
        report.seconds = (ContinuousClock.now - start).seconds
        return report
    }

    private func phases() async throws {
        await build()
        progress("booting main")
        try await machine.boot()
        let versions = try await machine.main.require("uname -r; criu --version | sed -n 's/^Version: //p'")
            .split(whereSeparator: \.isNewline).map(String.init)
        report.kernel = versions.first
        report.criu = versions.dropFirst().first
        progress("main is up (\(versions.joined(separator: ", criu "))); starting \(alive.count) cases")
        async let emulator: Void = checkEmulator()
        try await startCases()
        try await emulator
        try await settle()
        // What the crash must fall into begins after the record, which may take long on a busy host.
        if let truth { try await record(truth) }
        // A client lives from before the crash until after the checks.
        await startClients()
        await beforeCrash()
        progress("crashing main's kernel: \(trigger.rawValue)")
        try await machine.crash(trigger)
        let record = try await machine.recover(by: salvager)
        try await summarize(record)
        try await truth?.release(in: machine.main)
        await checkCases()
        await stopClients()
    }

    private func build() async {
        for index in alive {
            do {
                try await runners[index].build()
            } catch {
                drop(index, "\(error)")
            }
        }
    }

    /// Starts all cases at once, but for those that have to be first: on a slow machine one must not have to work for minutes until the last has started.
    private func startCases() async throws {
        try await machine.main.copyIn("\(report.logs)/\(CaseRunner.copies)", to: CaseRunner.places, timeout: .seconds(300))
        let main = machine.main
        for index in alive where runners[index].definition.startsFirst {
            await forEach([index]) { runner in try await runner.start(in: main) }
        }
        await forEach(alive.filter { !runners[$0].definition.startsFirst }) { runner in try await runner.start(in: main) }
        for index in alive { report.cases[index].hasStarted = true }
    }

    /// Does something for cases at once, and drops those for which it fails.
    private func forEach(_ indices: [Int], _ body: @escaping @Sendable (CaseRunner) async throws -> Void) async {
        let failures = await withTaskGroup(of: (Int, String)?.self) { group in
            for index in indices {
                let runner = runners[index]
                group.addTask {
                    do {
                        try await body(runner)
                        return nil
                    } catch {
                        return (index, "\(error)")
                    }
                }
            }
            var failures: [(Int, String)] = []
            for await failure in group {
                if let failure { failures.append(failure) }
            }
            return failures
        }
        for (index, message) in failures.sorted(by: { $0.0 < $1.0 }) { drop(index, message) }
    }

    /// Main and the control domain compute while the cases work; the host says what is right.
    private func checkEmulator() async throws {
        let main = machine.main
        let control = machine.control
        async let truth = SelfCheck.compute(in: HostShell())
        async let inMain = SelfCheck.compute(in: main)
        async let inControl = SelfCheck.compute(in: control)
        let expected = try await truth
        for (place, result) in [(main.place, try await inMain), (control.place, try await inControl)] {
            report.selfChecks.append(LabReport.SelfCheck(place: place, rounds: SelfCheck.rounds, right: result == expected))
            guard result == expected else {
                throw LabFailure(
                    "the emulator computed wrongly in \(place) (\(result) instead of \(expected)): no result of this run counts"
                )
            }
        }
        progress("the emulator computes right in \(main.place) and \(control.place)")
    }

    private func settle() async throws {
        let seconds = alive.map { runners[$0].definition.settleSeconds }.max() ?? 0
        try await Task.sleep(for: .milliseconds(Int64(seconds * 1000)))
    }

    private func record(_ truth: TruthRecord) async throws {
        progress("recording the truth")
        let start = ContinuousClock.now
        let still = alive.map { runners[$0].definition }.filter(\.isQuiescent).map(\.name)
        try await truth.take(in: machine.main, stillGroups: still)
        progress("recorded the truth in \((ContinuousClock.now - start).seconds.padded(0)) s")
    }

    private func startClients() async {
        for index in alive where runners[index].definition.has("client") {
            do {
                clients.append(try await Client.start(runners[index], on: machine))
            } catch {
                drop(index, "client: \(error)")
            }
        }
    }

    private func stopClients() async {
        for client in clients {
            guard let line = try? await client.stop() else { continue }
            progress("client of \(client.name): \(line)")
        }
    }

    private func beforeCrash() async {
        let main = machine.main
        await forEach(alive) { runner in
            guard let result = try await runner.run("before", in: main), !result.succeeded else { return }
            throw LabFailure("before exited with \(result.status): \(result.lastLine ?? "it printed nothing")")
        }
        do {
            try await machine.main.require("sync", timeout: .seconds(120))
        } catch {
            progress("cannot sync main's disk: \(error)")
        }
    }

    private func summarize(_ record: RecoveryRecord) async throws {
        let before = Date()
        let theirs = try await machine.main.require("date +%s.%N").trimmingCharacters(in: .whitespacesAndNewlines)
        let here = (before.timeIntervalSince1970 + Date().timeIntervalSince1970) / 2
        let recovery = record.summary(trigger: trigger, clockOffset: (Double(theirs) ?? here) - here)
        report.recoveries.append(recovery)
        for index in alive {
            guard let group = recovery.groups.first(where: { $0.name == runners[index].name }) else { continue }
            report.cases[index].verdict = group.verdict
            report.cases[index].secondsToProgress = group.secondsToProgress
        }
    }

    /// Checks all cases at once, as their processes run at once.
    private func checkCases() async {
        progress("recovered; checking \(alive.count) cases")
        let main = machine.main
        let clock = ContinuousClock()
        let results = await withTaskGroup(of: (Int, Result<ToolResult?, any Error>, Double).self) { group in
            for index in alive {
                let runner = runners[index]
                group.addTask {
                    let start = clock.now
                    do {
                        let result = try await runner.run("check", in: main)
                        return (index, .success(result), (clock.now - start).seconds)
                    } catch {
                        return (index, .failure(error), (clock.now - start).seconds)
                    }
                }
            }
            var results: [(Int, Result<ToolResult?, any Error>, Double)] = []
            for await result in group { results.append(result) }
            return results
        }
        for (index, result, seconds) in results {
            report.cases[index].checkSeconds = seconds
            switch result {
            case .success(let result?): judge(index, result)
            case .success(nil): drop(index, "it has no check")
            case .failure(let error): drop(index, "check: \(error)" + whyNotRestored(index))
            }
        }
    }

    private func judge(_ index: Int, _ result: ToolResult) {
        let verdict = report.cases[index].verdict
        var message = result.lastLine ?? "check printed nothing"
        switch result.status {
        case 0: report.cases[index].result = .passed
        case 77: report.cases[index].result = .skipped
        default:
            report.cases[index].result = .failed
            message += whyNotRestored(index)
        }
        let definition = runners[index].definition
        let isAccepted = verdict == definition.expect || definition.mayDegrade && verdict == "degraded"
        if let expect = definition.expect, !isAccepted, report.cases[index].result == .passed {
            report.cases[index].result = .failed
            message += "; the verdict is \(verdict ?? "missing") instead of \(expect)" + whyNotRestored(index)
        }
        report.cases[index].message = message
    }

    /// What salvage and the agent said against the case's group, for the message of a failure.
    private func whyNotRestored(_ index: Int) -> String {
        guard let group = report.recoveries.last?.groups.first(where: { $0.name == runners[index].name }) else {
            return " (its group was not found in the dead kernel)"
        }
        var parts = group.reasons.prefix(3).map { "\(group.verdict ?? "?"): \($0)" }
        if let outcome = group.outcome, outcome != "restored" {
            parts.append("\(outcome): \(group.reason ?? "no reason given")")
        }
        return parts.isEmpty ? "" : " (\(parts.joined(separator: "; ")))"
    }

    /// Takes a case out of the run as failed.
    private func drop(_ index: Int, _ message: String) {
        report.cases[index].result = .failed
        report.cases[index].message = message
        alive.removeAll { $0 == index }
        progress("case \(runners[index].name): \(message)")
    }
}
