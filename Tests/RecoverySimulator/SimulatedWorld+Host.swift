import Recovery

/// The Xen host's side of the simulated world.
extension SimulatedWorld {
    // MARK: Facts

    public func domain(_ identity: DomainIdentity) throws(WorldFailure) -> DomainFacts? {
        try step()
        return domains[identity.id].flatMap { $0.identity == identity ? facts($0) : nil }
    }

    public func domain(named name: String) throws(WorldFailure) -> DomainFacts? {
        try step()
        return domains.values.first { $0.name == name }.map(facts)
    }

    private func facts(_ domain: Domain) -> DomainFacts {
        DomainFacts(identity: domain.identity, name: domain.name, condition: domain.condition)
    }

    public func minor(of main: DomainIdentity) throws(WorldFailure) -> UInt32? {
        try step()
        return domains.values.first { $0.target == main }?.identity.id
    }

    public func minorStatus(_ minor: UInt32) throws(WorldFailure) -> MinorStatus? {
        try step()
        guard let domain = domains[minor] else { return nil }
        if let commanded = domain.commanded, domain.silentSince == nil { return salvageStatus(minor, since: commanded) }
        if scenario.minorNeverReady || clock < domain.born + scenario.minorArmedAfter {
            return MinorStatus(state: .learning)
        }
        if let refusal = scenario.minorRefusal { return MinorStatus(state: .refused, detail: refusal) }
        var status = MinorStatus(state: .armed, heartbeat: UInt64(domain.silentSince ?? clock))
        status.kernel = "6.1.0-56-amd64"
        return status
    }

    private func salvageStatus(_ minor: UInt32, since commanded: Double) -> MinorStatus? {
        if scenario.minorEnding == .silent || clock < commanded + 1 { return MinorStatus(state: .armed) }
        if scenario.minorAsksForDisks, clock >= commanded + scenario.minorSeconds / 2, domains[minor]?.hasDisksSince == nil {
            return MinorStatus(state: .waiting, detail: "processes have pages swapped out to xvda")
        }
        if scenario.minorEnding == .hangs || clock < commanded + scenario.minorSeconds {
            return MinorStatus(state: .salvaging, progress: "0/1 groups")
        }
        switch scenario.minorEnding {
        case .done:
            manifest = domains[minor]?.recovery
            return MinorStatus(state: .done)
        case .fails:
            return MinorStatus(state: .failed, detail: "cannot write to the volume")
        case .dies:
            domains[minor] = nil
            return nil
        case .hangs, .silent:
            return MinorStatus(state: .salvaging)
        }
    }

    public func agentReport(of main: UInt32) throws(WorldFailure) -> AgentReport? {
        try step()
        guard let domain = domains[main], domain.withVolume, !scenario.agentSilent, let manifest,
            clock >= domain.born + scenario.agentAfter
        else { return nil }
        let groups = scenario.outcomes.map { name, outcome in
            AgentReport.Group(
                name: name, outcome: outcome, reason: outcome == "restored" ? nil : "criu refused it", seconds: 0.5)
        }
        if let failure = scenario.agentFailure {
            var report = AgentReport(id: nil, groups: [])
            report.failure = failure
            return report
        }
        return AgentReport(id: manifest, groups: groups)
    }

    public func agentProgress(of main: UInt32) throws(WorldFailure) -> String? {
        try step()
        guard let domain = domains[main], domain.withVolume, let works = scenario.agentWorks, clock >= domain.born + 5 else {
            return nil
        }
        return "step \(Int(min(clock - domain.born, works) / 10))"
    }

    public func kernelRefusal(of main: UInt32) throws(WorldFailure) -> String? {
        try step()
        return scenario.kernelRefusal
    }

    // MARK: Effects

    public func readyVolume(
        _ settings: ProtectionSettings, main: UInt32?, keep: KeptCheckpoint?
    ) throws(WorldFailure) -> VolumeFindings {
        try step()
        if let busy = scenario.volumeBusy, busy.contains(clock) {
            throw .failed("the recovery volume is still in use in main")
        }
        if let main { domains[main]?.withVolume = false }
        var findings = VolumeFindings()
        if let id = manifest {
            findings.id = id
            findings.groups = scenario.verdicts.map { name, verdict, reason in
                GroupResult(name: name, verdict: verdict, reasons: reason.map { [$0] } ?? [])
            }
            if let keep {
                kept = [keep.recovery]
                findings.kept = "kept/\(keep.recovery)"
            }
        }
        note("the volume is made ready" + (findings.kept.map { ", \($0)" } ?? ""))
        manifest = nil
        try step()
        return findings
    }

    public func createMinor(for main: DomainIdentity, _ settings: ProtectionSettings) throws(WorldFailure) -> UInt32 {
        try step()
        if domains.values.contains(where: { $0.target != nil }) { throw .failed("a domain xenpr-minor-main exists") }
        let id = nextDomain
        nextDomain += 1
        domains[id] = Domain(
            identity: DomainIdentity(id: id, uuid: "uuid-\(id)"), name: "xenpr-minor-main", condition: .running, born: clock,
            target: main)
        note("minor \(id) is started for main \(main.id)")
        try step()
        return id
    }

    public func destroyMinors() throws(WorldFailure) {
        try step()
        for (id, domain) in domains where domain.target != nil {
            domains[id] = nil
            note("minor \(id) is destroyed")
        }
        try step()
    }

    public func handOver(_ main: UInt32, to minor: UInt32, recovery: String) throws(WorldFailure) {
        try step()
        guard domains[minor] != nil else { throw .failed("there is no domain \(minor)") }
        if domains[minor]?.commanded == nil { domains[minor]?.commanded = clock }
        domains[minor]?.recovery = recovery
        note("minor \(minor) is commanded to salvage main \(main)")
        try step()
    }

    public func attachDisks(of main: UInt32, to minor: UInt32) throws(WorldFailure) {
        try step()
        guard domains[minor] != nil else { throw .failed("there is no domain \(minor)") }
        if let reason = scenario.disksRefused { throw .failed(reason) }
        if domains[minor]?.hasDisksSince == nil { domains[minor]?.hasDisksSince = clock }
        note("the disks of main \(main) are attached to minor \(minor)")
        try step()
    }

    public func salvageHere(
        _ main: UInt32, _ settings: ProtectionSettings, recovery: String, until deadline: Timestamp
    ) throws(WorldFailure) -> SalvageResult {
        try step()
        if domains.values.contains(where: { $0.target != nil }) { throw .failed("the minor has the volume") }
        note("the control domain salvages main \(main)")
        let hangs = scenario.controlEnding == .hangs
        let end = hangs ? deadline.unixSeconds : min(clock + scenario.controlSeconds, deadline.unixSeconds)
        while clock < end, !ended {
            pass(until: end)
            try step()
        }
        if hangs || clock >= deadline.unixSeconds { return .timeLimit }
        guard scenario.controlEnding == .done else { return .failed("exit code 1") }
        manifest = recovery
        try step()
        return .done
    }

    public func destroyMain(_ main: UInt32) throws(WorldFailure) {
        try step()
        if scenario.destroyFailures > 0 {
            scenario.destroyFailures -= 1
            throw .failed("xl destroy failed")
        }
        domains[main] = nil
        note("main \(main) is destroyed")
        try step()
    }

    public func createMain(_ settings: ProtectionSettings, withVolume: Bool) throws(WorldFailure) {
        try step()
        if withVolume && scenario.createFailsWithVolume { throw .failed("the block script failed") }
        if scenario.createFailures > 0 {
            scenario.createFailures -= 1
            throw .failed("not enough memory")
        }
        if domains.values.contains(where: { $0.target == nil }) { throw .failed("a domain main exists") }
        let identity = addMain(withVolume: withVolume)
        if scenario.createHalfMade > 0 {
            scenario.createHalfMade -= 1
            domains[identity.id]?.condition = .paused
            note("main \(identity.id) is half made")
            throw .failed("xl create did not end within 180 s")
        }
        note("main \(identity.id) is created" + (withVolume ? " with the volume" : ""))
        try step()
    }
}
