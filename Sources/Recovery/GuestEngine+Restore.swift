extension GuestEngine {
    /// `rebooting`: the dead main goes, a new one comes. There is no way out of this state but a main that exists.
    mutating func reboot() async throws(WorldFailure) {
        guard let recovery = record.recovery else {
            return try await enter(.arming, "the journal knows of no recovery")
        }
        let begun = await desk.now()
        do {
            try await dropMinor()
        } catch .stopped {
            throw .stopped
        } catch .failed(let reason) {
            // It may hold the volume or memory that main needs, which creating main will show.
            logger.warning("the minor stays", metadata: ["reason": "\(reason)"])
        }
        if let main = try await findMain(), main.identity.id == recovery.deadDomain, !main.condition.isAlive {
            try await host.destroyMain(main.identity.id)
            await mark("destroy", since: begun)
            try await save()
        }
        if let main = try await host.domain(named: record.guest),
            main.condition.isAlive || main.identity.id != recovery.deadDomain
        {
            // The toolstack makes a domain paused and lets it run last of all: one that stays so was left half made.
            if main.condition == .paused {
                guard begun >= record.since + limits.creation else {
                    return try await pause(limits.look, saying: "main is being created")
                }
                try await host.destroyMain(main.identity.id)
                return try await pause(0, saying: "main was left half made")
            }
            // A killed xenprd, or the operator, has created it already.
            return try await rebooted(main)
        }
        let creation = await desk.now()
        do {
            try await host.createMain(record.settings, withVolume: recovery.withVolume)
        } catch .stopped {
            throw .stopped
        } catch .failed(let reason) {
            return try await creationFailed(reason)
        }
        await mark("create", since: creation)
        guard let main = try await host.domain(named: record.guest) else {
            throw .failed("main was created but Xen does not show it")
        }
        try await rebooted(main)
    }

    private mutating func creationFailed(_ reason: String) async throws(WorldFailure) {
        if record.recovery?.withVolume == true {
            let failures = (record.failedCreations ?? 0) + 1
            record.failedCreations = failures
            if failures < limits.creations {
                return try await pause(limits.creationPause, saying: "main could not be created: \(reason); trying again")
            }
            // The processes are lost for now, the guest must not be: again without the volume.
            record.recovery?.withVolume = false
            addReason("main could not be created with the recovery volume: \(reason)")
            return try await save()
        }
        if await isLeaving() {
            // The operator wants us gone, and we cannot do better than say it.
            addReason("main could not be created: \(reason)")
            try await finish(.failed)
            return try await enter(.unprotected, "main is not running: \(reason)")
        }
        throw .failed("main could not be created: \(reason)")
    }

    private mutating func rebooted(_ main: DomainFacts) async throws(WorldFailure) {
        record.main = main.identity
        // What the agent of an earlier life has said is no progress of this one's.
        agentProgress = nil
        record.lastRestore = record.recovery?.withVolume == true ? await desk.now() : record.lastRestore
        try await enter(.restoring)
    }

    /// `restoring`: main boots, its agent restores and reports.
    mutating func restore() async throws(WorldFailure) {
        guard let recovery = record.recovery else {
            return try await enter(.arming, "the journal knows of no recovery")
        }
        guard recovery.withVolume else {
            try await finish(.failed)
            return try await enter(.failed, recovery.reasons.last)
        }
        let main = try await findMain()
        if let main, main.condition == .crashed {
            addReason("main panicked again during the restore; the checkpoint is kept on the volume as kept/\(recovery.id)")
            record.lastRestore = await desk.now()
            try await finish(.failed)
            return try await noticeCrash(of: main)
        }
        if let main, main.identity != record.main {
            // Rebooted by its operator; its agent finds the volume again.
            record.main = main.identity
            agentProgress = nil
            try await save()
        }
        if let main, let report = try await agentReport(of: main) { return try await judge(report) }
        let now = await desk.now()
        if let main, let progress = try? await host.agentProgress(of: main.identity.id), progress != agentProgress?.text {
            agentProgress = (progress, now)
        }
        // An agent at work has the volume mounted; it has limits of its own for each step.
        let deadline = min((agentProgress?.seen ?? record.since) + limits.restore, record.since + limits.restoreAtMost)
        if now >= deadline {
            let who =
                main == nil
                ? "main was taken down"
                : agentProgress == nil ? "main is up, but its agent has not reported" : "main's agent has stopped in its work"
            let reason =
                agentProgress == nil
                ? "\(who) within \(Int(limits.restore)) s of its creation" : "\(who) (\(agentProgress?.text ?? ""))"
            addReason(reason)
            record.lastRestore = await desk.now()
            try await finish(.failed)
            return try await enter(.failed, reason)
        }
        try await desk.wait(until: min(deadline, now + limits.look))
    }

    /// A report that cannot be read must not keep the deadline from being seen.
    private func agentReport(of main: DomainFacts) async throws(WorldFailure) -> AgentReport? {
        do {
            return try await host.agentReport(of: main.identity.id)
        } catch .stopped {
            throw .stopped
        } catch .failed(let reason) {
            logger.warning("cannot read the agent's report", metadata: ["reason": "\(reason)"])
            return nil
        }
    }

    private mutating func judge(_ report: AgentReport) async throws(WorldFailure) {
        await mark("restore", since: record.since)
        record.recovery?.timeline.append(contentsOf: report.timeline ?? [])
        record.lastRestore = await desk.now()
        record.recovery?.groups = report.groups.map { group in
            var result = GroupResult(
                name: group.name, reasons: group.reason.map { [$0] } ?? [], outcome: group.outcome)
            result.seconds = group.seconds
            return result
        }
        agentProgress = nil
        if let failure = report.failure {
            // Nothing was restored, so all of it is kept.
            addReason("main's agent could restore nothing: \(failure)")
            try await finish(.failed)
            return try await enter(.failed, failure)
        }
        let outcome = Self.outcome(of: record.recovery?.groups ?? [])
        // The recovery itself stays open until the manifest's verdicts are known, which only the volume has.
        try await finish(.running)
        if outcome == .recovered { record.checkpoint = nil }
        try await enter(GuestState(outcome))
    }

    /// Closes a recovery that was open for the manifest's verdicts, with or without them.
    mutating func conclude() {
        guard let recovery = record.recovery, recovery.outcome == .running, recovery.finishedAt != nil else { return }
        record.recovery?.outcome = Self.outcome(of: recovery.groups)
    }

    /// Whole when each group is; failed when none runs again; degraded between.
    static func outcome(of groups: [GroupResult]) -> RecoveryOutcome {
        if groups.allSatisfy(\.isWhole) { return .recovered }
        return groups.contains { $0.outcome == "restored" } ? .degraded : .failed
    }

    mutating func finish(_ outcome: RecoveryOutcome) async throws(WorldFailure) {
        let now = await desk.now()
        record.recovery?.outcome = outcome
        record.recovery?.finishedAt = now
        record.recovery?.timeline.sort { $0.start < $1.start }
        try await save()
    }

    // MARK: Back to armed

    /// `recovered`, `degraded`, and `failed` after a recovery: the volume is taken back, then arming begins again.
    mutating func settle() async throws(WorldFailure) {
        if try await leaveIfAsked() { return }
        if let main = try await findMain(), main.condition == .crashed {
            return try await noticeCrash(of: main)
        }
        do {
            try await readyVolume()
        } catch .stopped {
            throw .stopped
        } catch .failed(let reason) {
            // main has not let go of the volume yet; the outcome must not wait for that.
            conclude()
            throw .failed(reason)
        }
        if let recovery = record.recovery, GuestState(recovery.outcome) != record.state {
            // The manifest knew of something that the agent could not see.
            try await enter(GuestState(recovery.outcome), recovery.groups.flatMap(\.reasons).first)
        }
        record.recovery = nil
        try await enter(.arming)
    }

    /// `failed` without a recovery: main's kernel cannot be understood. A crash still reboots main; a new life of main
    /// is tried again.
    mutating func settleFailure() async throws(WorldFailure) {
        if record.recovery != nil { return try await settle() }
        if try await leaveIfAsked() { return }
        guard let main = try await findMain(), main.identity == record.main else {
            return try await enter(.arming, "the guest was started anew")
        }
        if main.condition == .crashed {
            let refusal = record.detail ?? "main was not armed"
            try await noticeCrash(of: main)
            return try await rebootPlainly(refusal)
        }
        try await desk.wait(until: await desk.now() + limits.look)
    }

    /// Takes the volume back from main, learns the manifest's verdicts from it, and keeps the images when something
    /// has not come back.
    mutating func readyVolume() async throws(WorldFailure) {
        guard record.volumeInUse else { return }
        // Its operator may have rebooted main since, which has the volume then.
        let main = try await findMain()
        let restored = Set((record.recovery?.groups ?? []).filter { $0.outcome == "restored" }.map(\.name))
        let findings = try await host.readyVolume(
            record.settings, main: main?.identity.id,
            keep: record.checkpoint.map { KeptCheckpoint(recovery: $0, restored: restored) })
        record.volumeInUse = false
        record.checkpoint = nil
        if findings.id == record.recovery?.id { adopt(findings) }
        conclude()
        try await save()
    }

    /// Joins the manifest's verdicts with what the agent has said.
    private mutating func adopt(_ findings: VolumeFindings) {
        guard var recovery = record.recovery else { return }
        recovery.cause = findings.cause ?? recovery.cause
        recovery.kernel = findings.kernel ?? recovery.kernel
        recovery.kept = findings.kept
        if recovery.salvagedBy == .control || !recovery.timeline.contains(where: { $0.bytes != nil }) {
            recovery.timeline.append(contentsOf: findings.timeline)
            recovery.timeline.sort { $0.start < $1.start }
        }
        var groups = findings.groups
        for said in recovery.groups {
            if let index = groups.firstIndex(where: { $0.name == said.name }) {
                groups[index].outcome = said.outcome
                groups[index].seconds = said.seconds
                groups[index].reasons += said.reasons.filter { !groups[index].reasons.contains($0) }
            } else {
                groups.append(said)
            }
        }
        recovery.groups = groups
        record.recovery = recovery
    }
}

extension GuestState {
    init(_ outcome: RecoveryOutcome) {
        switch outcome {
        case .recovered: self = .recovered
        case .degraded: self = .degraded
        case .failed, .running: self = .failed
        }
    }
}
