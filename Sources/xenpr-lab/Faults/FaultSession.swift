import Foundation

/// One Xen host on which things go wrong on purpose, one after the other.
actor FaultSession {
    let machine: XenMachine
    let progress: Progress
    private let isUp: Bool

    /// - Parameter isUp: the host runs, with main armed.
    init(_ machine: XenMachine, isUp: Bool = false, progress: Progress) {
        self.machine = machine
        self.isUp = isUp
        self.progress = progress
    }

    var main: SSHShell { machine.main }
    var control: any Shell { machine.control }

    /// Tries all of them. A fault that leaves the host in a state from which main cannot be armed again fails those after it too.
    func run(_ faults: [Fault]) async -> [FaultResult] {
        var results: [FaultResult] = []
        var broken: String?
        do {
            if !isUp {
                progress("booting Xen, the control domain and main")
                try await machine.boot()
            }
            try await setRight()
        } catch {
            broken = "\(error)"
        }
        for (index, fault) in faults.enumerated() {
            if let broken {
                results.append(FaultResult(fault: fault, passed: false, message: "not reached: \(broken)"))
                continue
            }
            progress("fault \(fault.rawValue)")
            do {
                results.append(FaultResult(fault: fault, passed: true, message: try await cause(fault)))
            } catch {
                results.append(FaultResult(fault: fault, passed: false, message: "\(error)"))
            }
            progress(results.last?.message ?? "")
            guard index < faults.count - 1, faults[index + 1].needsMain else { continue }
            do { try await setRight() } catch { broken = "after \(fault.rawValue): \(error)" }
        }
        await machine.shutdown()
        return results
    }

    private func cause(_ fault: Fault) async throws -> String {
        switch fault {
        case .deadMinor: try await deadMinor()
        case .crashLoop: try await crashLoop()
        case .silentMinor: try await silentMinor()
        case .timeLimit: try await timeLimit()
        case .fullVolume: try await fullVolume()
        case .wrongSetting: try await wrongSetting()
        case .dumpedCore: try await dumpedCore()
        case .noTypes: try await noTypes()
        case .pvGuest: try await pvGuest()
        }
    }

    /// Brings main back to where most faults begin: healthy, with nothing protected in it, and armed by a xenprd with its usual settings.
    private func setRight() async throws {
        if try await !control.run("xl domid main").succeeded { try await createMain("/etc/xen/main.cfg") }
        _ = try await main.run("for group in /sys/fs/cgroup/xenpr/*/; do echo 1 > $group/cgroup.kill; done 2> /dev/null")
        try await restartDaemon()
    }

    /// Starts xenprd anew and waits until main is armed.
    ///
    /// One fault follows the other within seconds here, so the guard against a loop of crashes is off but for the fault that it is for.
    /// - Parameter limits: what else is different in the section `limits` of its configuration.
    func restartDaemon(limits: [String: Int] = [:]) async throws {
        // It may have been killed by a fault that failed half-way.
        _ = try? await machine.killDaemon()
        try await machine.startDaemon(limits: Self.quickly.merging(limits) { $1 })
        try await armed()
    }

    /// The limits of the usual settings here.
    static let quickly = ["crash_loop_s": 1]

    /// Waits until main is armed, protecting it if it is not protected.
    func armed() async throws {
        let control = control
        if try await XenRecoveries.state(in: control) == nil { return try await machine.protect() }
        _ = try await poll(every: .seconds(1), within: .seconds(300), for: "main to be armed again") {
            try await XenRecoveries.state(in: control) == "armed" ? true : nil
        }
    }

    /// Creates main from a configuration and returns when it takes commands.
    func createMain(_ config: String) async throws {
        await main.disconnect()
        try await control.require("xl create \(config)", timeout: .seconds(240))
        try await main.connect(within: .seconds(300))
    }

    /// Ends main and its protection, where there are any.
    func destroyMain() async throws {
        try await control.require("xenpr unprotect main; xl destroy main; ! xl domid main", timeout: .seconds(240))
        await main.disconnect()
    }

    /// Has main crash in the usual way and be recovered.
    func crashAndRecover() async throws -> RecoveryRecord {
        try await machine.crash(.sysrq)
        return try await machine.recover(by: .minor)
    }

    /// The minor of main, as a domain number.
    func minor() async throws -> String {
        try await control.require("xl domid xenpr-minor-main").trimmingCharacters(in: .whitespacesAndNewlines)
    }

    func expect(_ condition: Bool, _ failure: @autoclosure () -> String) throws {
        if !condition { throw LabFailure(failure()) }
    }

    /// The reason with this text in it.
    func reason(_ text: String, of record: RecoveryRecord) throws -> String {
        guard let reason = record.reasons.first(where: { $0.contains(text) }) else {
            throw LabFailure("no reason of the recovery says \"\(text)\": \(record.reasons.joined(separator: "; "))")
        }
        return reason
    }
}
