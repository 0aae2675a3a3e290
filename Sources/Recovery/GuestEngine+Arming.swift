extension GuestEngine {
    /// `arming`: main is there and well, a minor is started and learns its kernel.
    mutating func arm() async throws(WorldFailure) {
        if try await leaveIfAsked() { return }
        guard let main = try await findMain() else {
            try await dropMinor()
            return try await pause(limits.look, saying: "waiting for the guest to be started")
        }
        switch main.condition {
        case .crashed:
            return try await noticeCrash(of: main)
        case .shutDown, .dying:
            return try await pause(limits.look, saying: "waiting for the guest: it is being shut down")
        case .running, .paused:
            break
        }
        if record.main != main.identity {
            record.main = main.identity
            record.retryAt = nil
            try await save()
        }
        if let retryAt = record.retryAt, await desk.now() < retryAt {
            return try await desk.wait(until: retryAt)
        }
        do {
            try await readyVolume()
            switch record.settings.salvage {
            case .minor: try await armMinor(for: main.identity)
            case .control: try await armControl(for: main.identity)
            }
        } catch .stopped {
            throw .stopped
        } catch .failed(let reason) {
            try await armFailed(reason)
        }
    }

    /// Without a minor there is only the kernel to be tried.
    private mutating func armControl(for main: DomainIdentity) async throws(WorldFailure) {
        try await dropMinor()
        if let refusal = try await host.kernelRefusal(of: main.id) {
            return try await refuse("kernel not supported: \(refusal)")
        }
        try await nowArmed()
    }

    private mutating func armMinor(for main: DomainIdentity) async throws(WorldFailure) {
        let minor: UInt32
        if let serving = try await host.minor(of: main), try await host.minorStatus(serving) != nil {
            // A minor that a killed xenprd has left; a target can be set once only, so a fresh one would cost a boot.
            minor = serving
        } else {
            try await dropMinor()
            minor = try await host.createMinor(for: main, record.settings)
        }
        record.minor = minor
        record.detail = "minor \(minor) learns the kernel"
        try await save()

        let deadline = await desk.now() + limits.arm
        while true {
            // After a step that ends this loop the state's own step sees the rest.
            if await isLeaving() { return }
            guard let facts = try await host.domain(main), facts.condition == .running || facts.condition == .paused else {
                return
            }
            guard let status = try await host.minorStatus(minor) else {
                throw .failed("the minor died while it learned the kernel; its console log says why")
            }
            switch status.state {
            case .armed:
                record.kernel = status.kernel ?? record.kernel
                return try await nowArmed()
            case .refused:
                return try await refuse("kernel not supported: \(status.detail ?? "the minor gave no reason")")
            case .failed:
                throw .failed("the minor cannot serve: \(status.detail ?? "it gave no reason")")
            case .booting, .learning, .mapping, .salvaging, .done, .waiting:
                break
            }
            guard await desk.now() < deadline else {
                throw .failed("the minor was not ready within \(Int(limits.arm)) s (it said: \(status.state.rawValue))")
            }
            try await desk.wait(until: deadline)
        }
    }

    private mutating func nowArmed() async throws(WorldFailure) {
        record.accepted = true
        record.failedAttempts = 0
        record.retryAt = nil
        try await enter(.armed)
    }

    /// The kernel cannot be understood. A guest that was never armed is let go; one that was (its kernel was upgraded,
    /// say) stays known, so that a crash still reboots it.
    private mutating func refuse(_ reason: String) async throws(WorldFailure) {
        try await dropMinor()
        try await enter(record.accepted ? .failed : .unprotected, reason)
    }

    private mutating func armFailed(_ reason: String) async throws(WorldFailure) {
        try await dropMinor()
        guard record.accepted else {
            return try await enter(.unprotected, reason)
        }
        record.failedAttempts += 1
        // 10 s, 20 s, … at most 10 minutes: an operator may be mending what is broken.
        let pause = min(600, limits.look * Double(1 << min(record.failedAttempts - 1, 10)))
        record.retryAt = await desk.now() + pause
        record.detail = "\(reason); trying again in \(Int(pause)) s, a crash until then is salvaged in the control domain"
        logger.warning("cannot arm", metadata: ["reason": "\(reason)"])
        try await save()
    }

    /// `armed`: nothing happens until something does.
    mutating func watchOver() async throws(WorldFailure) {
        if try await leaveIfAsked() { return }
        guard let main = try await findMain() else {
            try await dropMinor()
            return try await enter(.arming, "the guest is gone: shut down, destroyed or migrated")
        }
        if main.identity != record.main {
            try await dropMinor()
            record.main = main.identity
            return try await enter(.arming, "the guest was started anew")
        }
        switch main.condition {
        case .crashed:
            return try await noticeCrash(of: main)
        case .shutDown, .dying:
            return try await desk.wait(until: await desk.now() + limits.look)
        case .running, .paused:
            break
        }
        if record.settings.salvage == .minor, let loss = try await minorLoss() {
            try await dropMinor()
            return try await enter(.arming, loss)
        }
        try await desk.wait(until: await desk.now() + limits.look)
    }

    /// Why the minor must be replaced; nil while it is well.
    private mutating func minorLoss() async throws(WorldFailure) -> String? {
        guard let minor = record.minor, let status = try await host.minorStatus(minor) else {
            return "the minor is gone"
        }
        guard status.state == .armed else {
            return "the minor is \(status.state.rawValue): \(status.detail ?? "no reason given")"
        }
        let now = await desk.now()
        guard let count = status.heartbeat, let last = heartbeat, last.count == count else {
            heartbeat = (status.heartbeat ?? 0, now)
            return nil
        }
        let silence = now - last.seen
        return silence > limits.heartbeat ? "the minor is silent since \(Int(silence)) s" : nil
    }
}
