import DaemonAPI
import Foundation
import Logging
import Recovery
import XenControl

/// One protected guest on the real Xen host: the engine's facts and effects.
struct XenGuest: GuestHost {
    let name: String
    let settings: DaemonConfiguration
    let xen: XenConnection
    let watcher: XenWatcher
    let logger: Logger

    /// The domain name of this guest's minor.
    var minorName: String { "xenpr-minor-\(name)" }

    /// Runs `work`, whose errors become reasons; a cancelled task means that xenprd is being stopped.
    func attempt<Value: Sendable>(_ work: () async throws -> Value) async throws(WorldFailure) -> Value {
        do {
            return try await work()
        } catch is CancellationError {
            throw .stopped
        } catch let failure as WorldFailure {
            throw failure
        } catch {
            throw Task.isCancelled ? .stopped : .failed("\(error)")
        }
    }

    // MARK: Facts

    func domain(_ identity: DomainIdentity) async throws(WorldFailure) -> DomainFacts? {
        let facts = try await attempt { try await xen.facts(DomainID(identity.id)) }
        return facts?.identity == identity ? facts : nil
    }

    func domain(named name: String) async throws(WorldFailure) -> DomainFacts? {
        try await attempt { try await xen.facts(named: name) }
    }

    func minor(of main: DomainIdentity) async throws(WorldFailure) -> UInt32? {
        try await attempt {
            guard let minor = try await xen.facts(named: minorName) else { return nil }
            let target = try await xen.read("\(DomainID(minor.identity.id).storePath)/xenpr/main")
            return target == "\(main.id)" ? minor.identity.id : nil
        }
    }

    func minorStatus(_ minor: UInt32) async throws(WorldFailure) -> MinorStatus? {
        try await attempt {
            let id = DomainID(minor)
            let directory = "\(id.storePath)/xenpr"
            await watcher.follow("\(directory)/state")
            await watcher.follow("\(directory)/progress")
            guard let facts = try await xen.facts(id), facts.name == minorName else { return nil }
            let state = try await xen.read("\(directory)/state").flatMap(MinorStatus.State.init) ?? .booting
            switch facts.condition {
            case .running, .paused: break
            // It powers off when it is done; its domain, and so its last words, are preserved until we destroy it.
            case .shutDown where state == .done || state == .failed || state == .refused: break
            case .shutDown, .crashed, .dying: return nil
            }
            var status = MinorStatus(
                state: state, detail: try await xen.read("\(directory)/detail"),
                heartbeat: try await xen.read("\(directory)/heartbeat").flatMap { UInt64($0) },
                progress: try await xen.read("\(directory)/progress"))
            status.kernel = try await xen.read("\(directory)/kernel")
            if state == .done, let text = try await xen.readChunked("\(directory)/timeline", chunkLimit: 64) {
                status.timeline = (try? WireCoding.decode([Phase].self, from: Data(text.utf8))) ?? []
            }
            return status
        }
    }

    func agentReport(of main: UInt32) async throws(WorldFailure) -> AgentReport? {
        try await attempt {
            let path = "\(DomainID(main).storePath)/data/xenpr/report"
            await watcher.follow(path)
            guard let text = try await xen.readChunked(path, chunkLimit: 256) else { return nil }
            // Half of a report that is being written in chunks is no report yet.
            return try? WireCoding.decode(AgentReport.self, from: Data(text.utf8)).withPlainText
        }
    }

    func agentProgress(of main: UInt32) async throws(WorldFailure) -> String? {
        try await attempt {
            let path = "\(DomainID(main).storePath)/data/xenpr/progress"
            await watcher.follow(path)
            return try await xen.read(path).map { String($0.prefix(64)).asForeignText }
        }
    }

    func kernelRefusal(of main: UInt32) async throws(WorldFailure) -> String? {
        try await attempt {
            let arguments = ["inspect", "xen:\(main)", "kernel", "--format", "json"]
            guard let result = try await Tool.run(settings.xenpr, arguments, seconds: 120) else {
                throw ToolFailure("xenpr inspect xen:\(main) kernel did not end within 120 s")
            }
            switch result.code {
            case 0: return nil
            case 3: return result.reason
            default: throw ToolFailure("xenpr inspect xen:\(main) kernel failed: \(result.reason)")
            }
        }
    }

    // MARK: Domains

    func createMinor(for main: DomainIdentity, _ protection: ProtectionSettings) async throws(WorldFailure) -> UInt32 {
        try await attempt {
            let path = "\(settings.runDirectory)/minors/\(name).cfg"
            try makeDirectory("\(settings.runDirectory)/minors")
            try minorConfiguration(protection).write(toFile: path, atomically: true, encoding: .utf8)
            try await Tool.need(settings.xl, ["create", "-p", path], seconds: 120)
            guard let minor = try await xen.facts(named: minorName) else {
                throw ToolFailure("xl create made no domain \(minorName)")
            }
            try await xen.introduce(minor: DomainID(minor.identity.id), main: DomainID(main.id), guest: name)
            return minor.identity.id
        }
    }

    /// xl.cfg(5). The domain is preserved when it ends, so that its last state can be read; we destroy it.
    private func minorConfiguration(_ protection: ProtectionSettings) -> String {
        """
        # Made by xenprd for the protected guest \(name); changes are lost.
        name = "\(minorName)"
        type = "pv"
        kernel = "\(settings.minorKernel)"
        ramdisk = "\(settings.minorRamdisk)"
        extra = "\(settings.minorCommandLine)"
        memory = \(settings.minorMemoryMiB)
        vcpus = 1
        disk = ["phy:\(protection.volume),xvdb,w"]
        on_poweroff = "preserve"
        on_reboot = "preserve"
        on_crash = "preserve"

        """
    }

    func destroyMinors() async throws(WorldFailure) {
        try await attempt {
            while let minor = try await xen.facts(named: minorName) {
                let id = DomainID(minor.identity.id)
                try await destroy(id)
                await watcher.forget(id)
            }
        }
    }

    func destroyMain(_ main: UInt32) async throws(WorldFailure) {
        try await attempt {
            try await destroy(DomainID(main))
            await watcher.forget(DomainID(main))
        }
    }

    /// Destroys a domain; one that somebody else has destroyed meanwhile is fine.
    private func destroy(_ id: DomainID) async throws {
        do {
            try await Tool.need(settings.xl, ["destroy", "\(id)"], seconds: 120)
        } catch {
            guard try await xen.facts(id) == nil else { throw error }
        }
    }

    func createMain(_ protection: ProtectionSettings, withVolume: Bool) async throws(WorldFailure) {
        try await attempt {
            var arguments = ["create", protection.config]
            if withVolume { arguments.append("disk+=[\"phy:\(protection.volume),xvdr,w\"]") }
            // Half of a domain is worse than one too many: the next xenprd finds what this one has made when it is ended meanwhile.
            let finished = arguments
            _ = try await Task.detached { try await Tool.need(settings.xl, finished, seconds: 180) }.value
        }
    }

    // MARK: Salvage

    func handOver(_ main: UInt32, to minor: UInt32, recovery: String) async throws(WorldFailure) {
        try await attempt {
            let context = try await xen.context(of: DomainID(main))
            try await xen.commandSalvage(minor: DomainID(minor), context: context, recovery: recovery)
        }
    }

    /// Disks of a minor beyond the recovery volume; none needs as many.
    private static let diskLimit = 8

    func attachDisks(of main: UInt32, to minor: UInt32) async throws(WorldFailure) {
        try await attempt {
            let id = DomainID(minor)
            let wanted = (try await xen.read("\(id.storePath)/xenpr/disks") ?? "").split(separator: " ").map(String.init)
            let disks = try await xen.disks(of: DomainID(main))
            var present = Set(try await xen.disks(of: id).map(\.name))
            var attached: [String] = []
            for (index, name) in wanted.prefix(Self.diskLimit).enumerated() {
                // What the minor has read in the dead kernel's memory names nothing but main's own disks.
                guard let disk = disks.first(where: { $0.name == name }) else { throw ToolFailure("main has no disk \(name)") }
                // xvdc and so on; xvdb is the volume.
                let device = "xvd" + String(UnicodeScalar(UInt8(ascii: "c") + UInt8(index)))
                // An xenprd that was killed may have attached it.
                if present.insert(device).inserted { try await attach(disk.target, as: device, to: id) }
                attached.append("\(name)=\(device)")
            }
            try await xen.continueSalvage(minor: id, disks: attached)
        }
    }

    /// Dead main's own devices still have the disk for writing, and the toolstack would not lend it to another domain; through a read-only loop device it does.
    private func attach(_ target: String, as device: String, to minor: DomainID) async throws {
        guard RecoveryVolume.isDiskOrFile(target) else {
            throw ToolFailure("\(target), a disk of main's, is neither a device nor a file")
        }
        // What main wrote went past the page cache of the control domain, which may hold older contents.
        let loop = try await Tool.need(
            "losetup", ["--show", "--find", "--read-only", "--direct-io=on", target], seconds: 30
        ).trimmingCharacters(in: .whitespacesAndNewlines)
        do {
            try await Tool.need(settings.xl, ["block-attach", "\(minor)", "phy:\(loop),\(device),r"], seconds: 60)
        } catch {
            _ = try? await Tool.run("losetup", ["--detach", loop], seconds: 30)
            throw error
        }
        // The loop device goes with its last user, which is the minor (LO_FLAGS_AUTOCLEAR).
        try await Tool.need("losetup", ["--detach", loop], seconds: 30)
    }

    var volumeMountpoint: String { "\(settings.runDirectory)/volumes/\(name)" }

    func salvageHere(
        _ main: UInt32, _ protection: ProtectionSettings, recovery: String, until deadline: Timestamp
    ) async throws(WorldFailure) -> SalvageResult {
        try await attempt {
            try await endStraySalvage()
            let context = "\(settings.runDirectory)/\(name).context"
            try Data(try await xen.context(of: DomainID(main))).write(to: URL(fileURLWithPath: context))
            let volume = RecoveryVolume(device: protection.volume, mountpoint: volumeMountpoint)
            try await volume.mount()
            let seconds = max(1, deadline.unixSeconds - Date().timeIntervalSince1970)
            let arguments = [
                "salvage", "xen:\(main)", "--context", context, "--to", volumeMountpoint, "--id", recovery, "--guest", name,
            ]
            let result: Tool.Result?
            do {
                if volume.holdsRecovery(recovery) {
                    // The minor, or the salvage of a killed xenprd, had finished and could not say so any more.
                    try await volume.unmount()
                    return .done
                }
                // What a minor that died has left half written.
                _ = try volume.clear(keep: nil)
                result = try await Tool.run(settings.xenpr, arguments, seconds: seconds)
            } catch {
                try? await volume.unmount()
                throw error
            }
            try await volume.unmount()
            guard let result else { return .timeLimit }
            switch result.code {
            // 2: some of it could not be saved; the manifest says what.
            case 0, 2: return .done
            case 3: return .failed("kernel not supported: \(result.reason)")
            default: return .failed(result.reason)
            }
        }
    }

    /// A killed xenprd's salvage goes on writing; two at once would spoil the volume.
    private func endStraySalvage() async throws {
        for entry in try FileManager.default.contentsOfDirectory(atPath: "/proc") {
            guard let pid = pid_t(entry), let line = FileManager.default.contents(atPath: "/proc/\(entry)/cmdline") else {
                continue
            }
            let arguments = line.split(separator: 0).map { String(decoding: $0, as: UTF8.self) }
            if arguments.count > 2, arguments[1] == "salvage", arguments.contains(volumeMountpoint) {
                logger.warning("ending a salvage that an earlier xenprd has left", metadata: ["pid": "\(pid)"])
                try await EndOfProcess(pid).killAndWait(seconds: 30)
            }
        }
    }

    // MARK: The volume

    func readyVolume(
        _ protection: ProtectionSettings, main: UInt32?, keep: KeptCheckpoint?
    ) async throws(WorldFailure) -> VolumeFindings {
        try await attempt {
            if let main { try await detachVolume(from: DomainID(main), protection.volume) }
            // A minor that an earlier xenprd has left may still have it.
            try await destroyMinors()
            let volume = RecoveryVolume(device: protection.volume, mountpoint: volumeMountpoint)
            try await volume.mount()
            do {
                let findings = try volume.clear(keep: keep)
                try await volume.unmount()
                return findings
            } catch {
                try? await volume.unmount()
                throw error
            }
        }
    }

    /// Takes the volume from main. Main's kernel gives it up only when the agent has unmounted it.
    private func detachVolume(from main: DomainID, _ volume: String) async throws {
        let backends = "\(DomainID.control.storePath)/backend/vbd/\(main)"
        for device in try await xen.list(backends) ?? [] {
            guard try await xen.read("\(backends)/\(device)/params") == volume else { continue }
            do {
                try await Tool.need(settings.xl, ["block-detach", "\(main)", device], seconds: 60)
            } catch {
                throw ToolFailure(
                    "the recovery volume is still in use in \(name) (\(error)); run there: umount /run/xenpr/recovery")
            }
        }
    }
}
