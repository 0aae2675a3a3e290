import Daemon
import DaemonAPI
import Foundation
import Recovery

extension XenHost {
    func hostChecks() async -> [Check] {
        var checks = [controlDomain(), xenVersion()]
        checks.append(await tool("xl", [settings.xl, "info"], fix: "apt install xen-utils"))
        checks.append(file("minor kernel", settings.minorKernel))
        checks.append(file("minor ramdisk", settings.minorRamdisk))
        checks.append(await tool("xenpr", [settings.xenpr, "--version"], fix: "install the command xenpr, or set tools.xenpr"))
        checks.append(await tool("blkid", ["blkid", "-V"], fix: "apt install util-linux"))
        checks.append(await tool("mke2fs", ["mke2fs", "-V"], fix: "apt install e2fsprogs"))
        return checks
    }

    private func controlDomain() -> Check {
        let capabilities = (try? String(contentsOfFile: "/proc/xen/capabilities", encoding: .utf8)) ?? ""
        if capabilities.contains("control_d") { return Check("control domain", .ok, "this is Xen's control domain") }
        return Check(
            "control domain", .failed, "this is not Xen's control domain",
            fix: "boot Xen, mount xenfs on /proc/xen, and run xenprd in dom0")
    }

    private func xenVersion() -> Check {
        let read = { (name: String) in
            (try? String(contentsOfFile: "/sys/hypervisor/\(name)", encoding: .utf8))?.trimmingCharacters(
                in: .whitespacesAndNewlines)
        }
        guard let major = read("version/major"), let minor = read("version/minor") else {
            return Check("xen", .failed, "no hypervisor shows itself in /sys/hypervisor", fix: "boot Xen")
        }
        let version = "Xen \(major).\(minor)\(read("version/extra") ?? "")"
        // HVM-type targets and foreign mapping by a PV domain are proven on 4.17.
        guard let number = Int(major), number >= 4 else {
            return Check("xen", .warning, version, fix: "use Xen 4.14 or newer")
        }
        return Check("xen", .ok, version)
    }

    private func tool(_ name: String, _ command: [String], fix: String) async -> Check {
        guard let program = command.first else { return Check(name, .failed, "no command", fix: fix) }
        do {
            guard let result = try await Tool.run(program, Array(command.dropFirst()), seconds: 30) else {
                return Check(name, .failed, "\(program) does not answer", fix: fix)
            }
            guard result.code == 0 else { return Check(name, .failed, "\(program) fails: \(result.reason)", fix: fix) }
            return Check(name, .ok, "\(program) works")
        } catch {
            return Check(name, .failed, "\(program) cannot be run", fix: fix)
        }
    }

    private func file(_ name: String, _ path: String) -> Check {
        guard FileManager.default.isReadableFile(atPath: path) else {
            return Check(
                name, .failed, "\(path) is missing", fix: "install it, or set its path in \(DaemonConfiguration.defaultPath)")
        }
        return Check(name, .ok, path)
    }

    func guestChecks(_ record: ProtectionRecord) async -> [Check] {
        let guest = "guest \(record.guest)"
        var checks: [Check] = []
        do {
            let configuration = try await configuration(of: record.guest, at: record.settings.config)
            checks += configurationChecks(guest, configuration, record.settings)
        } catch {
            checks.append(Check("\(guest): config", .failed, error.message, fix: "restore \(record.settings.config)"))
        }
        checks.append(await volumeCheck(guest, record))
        checks.append(stateCheck(guest, record))
        return checks
    }

    private func configurationChecks(
        _ guest: String, _ configuration: MainConfiguration, _ settings: ProtectionSettings
    ) -> [Check] {
        var checks: [Check] = []
        let crash = configuration.onCrash ?? "not set"
        let line = "add the line on_crash = \"preserve\" to \(settings.config) and start the guest anew"
        checks.append(
            Check("\(guest): on_crash", crash == "preserve" ? .ok : .failed, crash, fix: crash == "preserve" ? nil : line))
        if let live = configuration.liveOnCrash, live != "preserve" {
            checks.append(Check("\(guest): on_crash now", .failed, live, fix: "start the guest anew"))
        }
        if configuration.isPV, settings.salvage == .minor {
            checks.append(
                Check(
                    "\(guest): type", .failed, "pv, which no minor can read",
                    fix: "xenpr protect \(guest) --salvage control, or make it type = \"pvh\""))
        } else {
            checks.append(Check("\(guest): type", .ok, configuration.type ?? "pv"))
        }
        // The clocks of recovered processes go on whatever the TSC does; what emulating it costs is the guest's own affair.
        let tsc = configuration.tscMode ?? "default"
        checks.append(Check("\(guest): tsc_mode", .ok, tsc))
        return checks
    }

    private func volumeCheck(_ guest: String, _ record: ProtectionRecord) async -> Check {
        let path = record.settings.volume
        let name = "\(guest): volume"
        switch await volumeState(path) {
        case .ready: return Check(name, .ok, path)
        case .blank: return Check(name, .failed, "\(path) is blank", fix: "mke2fs -t ext4 -L xenpr-recovery \(path)")
        case .foreign(let what):
            return Check(
                name, .failed, "\(path) holds \(what)", fix: "if it is not needed: mke2fs -t ext4 -L xenpr-recovery \(path)")
        case .unusable(let reason): return Check(name, .failed, "\(path): \(reason)", fix: "make the block device available")
        }
    }

    private func stateCheck(_ guest: String, _ record: ProtectionRecord) -> Check {
        let name = "\(guest): protection"
        let kernel = record.kernel.map { ", kernel \($0)" } ?? ""
        switch record.state {
        case .armed: return Check(name, .ok, "armed\(kernel)")
        case .failed, .unprotected:
            return Check(
                name, .failed, record.detail ?? record.state.rawValue, fix: "mend the cause; the guest is armed again by itself"
            )
        default:
            return Check(
                name, .warning, "\(record.state.rawValue): \(record.detail ?? "under way")", fix: "wait: xenpr status --watch")
        }
    }
}
