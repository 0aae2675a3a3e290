extension GuestEngine {
    /// From any state in which main lived: a new recovery begins.
    mutating func noticeCrash(of main: DomainFacts) async throws(WorldFailure) {
        let now = await desk.now()
        if record.recovery?.outcome == .running, record.recovery?.finishedAt != nil {
            conclude()
            try await save()
        }
        var recovery = RecoveryRecord(guest: record.guest, deadDomain: main.identity.id, crashedAt: now)
        recovery.kernel = record.kernel
        record.main = main.identity
        record.recovery = recovery
        record.failedCreations = nil
        try await enter(.crashed)
    }

    /// `crashed`: decide who salvages, or that nobody does.
    mutating func takeOver() async throws(WorldFailure) {
        guard let recovery = record.recovery else {
            return try await enter(.arming, "the journal knows of no recovery")
        }
        if let last = record.lastRestore, (0..<limits.crashLoop).contains(recovery.crashedAt - last) {
            // What was restored may be what panics the kernel.
            return try await rebootPlainly(
                "main panicked \(Int(recovery.crashedAt - last)) s after a restore: nothing is restored, to end a possible crash loop"
            )
        }
        if record.volumeInUse {
            return try await rebootPlainly("the recovery volume was still in use by main when it crashed")
        }
        guard record.accepted else {
            return try await rebootPlainly("main crashed before it was armed for the first time")
        }
        if let minor = record.minor, try await host.minorStatus(minor)?.state == .armed, !isSilent(at: await desk.now()) {
            record.recovery?.salvagedBy = .minor
            return try await enter(.salvaging, "minor \(minor) salvages")
        }
        if record.settings.salvage == .minor {
            addReason("the minor was dead or silent at the crash: salvaged in the control domain")
        }
        record.recovery?.salvagedBy = .control
        try await enter(.salvaging, "the control domain salvages")
    }

    private func isSilent(at now: Timestamp) -> Bool {
        guard let heartbeat else { return false }
        // One look may be old by the look's pause; only a heartbeat that stood still over it counts.
        return now - heartbeat.seen > limits.heartbeat
    }

    /// `salvaging`: the dead memory is read until it is done, fails, or the time is over.
    mutating func salvage() async throws(WorldFailure) {
        guard let recovery = record.recovery else {
            return try await enter(.arming, "the journal knows of no recovery")
        }
        let deadline = recovery.crashedAt + limits.salvage
        do {
            guard let main = try await findMain(), main.identity.id == recovery.deadDomain, !main.condition.isAlive else {
                // Not our doing: we destroy main in a later state only.
                return try await abandon("the dead main was destroyed by somebody else during the salvage")
            }
            switch recovery.salvagedBy {
            case .minor: try await salvageByMinor(recovery, main, until: deadline)
            case .control, nil: try await salvageHere(recovery, main, until: deadline)
            }
        } catch .stopped {
            throw .stopped
        } catch .failed(let reason) {
            try await rebootPlainly("the salvage failed: \(reason)")
        }
    }

    private mutating func salvageByMinor(
        _ recovery: RecoveryRecord, _ main: DomainFacts, until deadline: Timestamp
    ) async throws(WorldFailure) {
        let begun = await desk.now()
        guard let minor = record.minor, let status = try await host.minorStatus(minor) else {
            return try await fallBack("the minor died before the salvage")
        }
        if status.state == .armed {
            do {
                try await host.handOver(main.identity.id, to: minor, recovery: recovery.id)
            } catch .stopped {
                throw .stopped
            } catch .failed(let reason) {
                return try await fallBack("the dead vCPUs could not be handed to the minor: \(reason)")
            }
            await mark("handover", since: begun)
        }
        let answerBy = min(await desk.now() + limits.answer, deadline)
        var heard: Timestamp?
        var hasDisks = false
        while true {
            guard try await host.domain(main.identity) != nil else {
                return try await abandon("the dead main was destroyed by somebody else during the salvage")
            }
            guard let status = try await host.minorStatus(minor) else {
                return try await fallBack("the minor died during the salvage")
            }
            switch status.state {
            case .done:
                let started = heard ?? begun
                await mark("salvage", since: started)
                record.recovery?.timeline.append(contentsOf: status.timeline)
                return try await salvaged()
            case .failed:
                // The control domain sees main's disks and the volume in another way.
                return try await fallBack("the minor could not salvage: \(status.detail ?? "it gave no reason")")
            case .refused:
                return try await rebootPlainly("the minor could not salvage: \(status.detail ?? "it gave no reason")")
            case .waiting where !hasDisks:
                if heard == nil { heard = await desk.now() }
                do {
                    try await host.attachDisks(of: main.identity.id, to: minor)
                    hasDisks = true
                    continue
                } catch .stopped {
                    throw .stopped
                } catch .failed(let reason) {
                    return try await fallBack("main's disks could not be given to the minor: \(reason)")
                }
            case .waiting: break
            case .mapping, .salvaging:
                if heard == nil {
                    heard = await desk.now()
                    await mark("takeover", since: recovery.crashedAt)
                }
                if let progress = status.progress ?? status.detail, record.detail != progress {
                    record.detail = progress
                    try await save()
                }
            case .booting, .learning, .armed:
                if await desk.now() >= answerBy {
                    return try await fallBack("the minor did not answer within \(Int(limits.answer)) s")
                }
            }
            if await desk.now() >= deadline {
                return try await rebootPlainly("the salvage took longer than \(Int(limits.salvage)) s")
            }
            try await desk.wait(until: min(heard == nil ? answerBy : deadline, await desk.now() + limits.look))
        }
    }

    /// The minor is of no use: the control domain does its work.
    private mutating func fallBack(_ reason: String) async throws(WorldFailure) {
        addReason("\(reason): salvaged in the control domain")
        record.recovery?.salvagedBy = .control
        try await enter(.salvaging, reason)
    }

    private mutating func salvageHere(
        _ recovery: RecoveryRecord, _ main: DomainFacts, until deadline: Timestamp
    ) async throws(WorldFailure) {
        // The minor may hold the volume, half written.
        try await dropMinor()
        let begun = await desk.now()
        guard begun < deadline else {
            return try await rebootPlainly("the salvage took longer than \(Int(limits.salvage)) s")
        }
        let result = try await host.salvageHere(
            main.identity.id, record.settings, recovery: recovery.id, until: deadline)
        switch result {
        case .done:
            await mark("salvage", since: begun)
            try await salvaged()
        case .failed(let reason):
            try await rebootPlainly("the salvage in the control domain failed: \(reason)")
        case .timeLimit:
            try await rebootPlainly("the salvage took longer than \(Int(limits.salvage)) s")
        }
    }

    private mutating func salvaged() async throws(WorldFailure) {
        record.recovery?.withVolume = true
        record.volumeInUse = true
        record.checkpoint = record.recovery?.id
        try await enter(.rebooting, "salvaged")
    }

    /// Nothing will be restored, but main comes back.
    mutating func rebootPlainly(_ reason: String) async throws(WorldFailure) {
        addReason(reason)
        // A half-written checkpoint may be there; it is cleared, or kept, before the next arming.
        record.volumeInUse = true
        record.recovery?.withVolume = false
        try await enter(.rebooting, reason)
    }

    /// main was taken from us; whatever its operator starts next is armed.
    mutating func abandon(_ reason: String) async throws(WorldFailure) {
        addReason(reason)
        record.volumeInUse = true
        try await finish(.failed)
        record.recovery = nil
        record.main = nil
        try await enter(.arming, reason)
    }
}
