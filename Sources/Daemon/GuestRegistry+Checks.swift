import DaemonAPI
import Foundation
import Recovery

extension GuestRegistry {
    /// Refuses what could not be recovered, before anything is changed.
    func checkConfiguration(_ guest: String, _ settings: ProtectionSettings) async throws(Refusal) {
        let configuration: MainConfiguration
        do {
            configuration = try await host.configuration(of: guest, at: settings.config)
        } catch {
            throw Refusal(
                422, "config_unreadable", "cannot read the configuration of \(guest): \(error.message)",
                nextStep: "give its path: xenpr protect \(guest) --config FILE")
        }
        if let name = configuration.name, name != guest {
            throw Refusal(
                422, "config_of_another_guest", "\(settings.config) is the configuration of \(name), not of \(guest)",
                nextStep: "give the right one: xenpr protect \(guest) --config FILE")
        }
        guard configuration.onCrash == "preserve" else {
            throw Refusal(
                422, "on_crash_not_preserve",
                "on_crash of \(guest) is \(configuration.onCrash ?? "not set"): its memory would be gone after a crash",
                nextStep: "add the line on_crash = \"preserve\" to \(settings.config) and start \(guest) anew")
        }
        if let live = configuration.liveOnCrash, live != "preserve" {
            throw Refusal(
                422, "on_crash_not_preserve",
                "\(guest) runs with on_crash = \(live), although its configuration says preserve",
                nextStep: "start \(guest) anew, so that the configuration takes effect")
        }
        if configuration.isPV, settings.salvage == .minor {
            throw Refusal(
                422, "pv_guest", "\(guest) is a PV guest: Xen lets no minor read its memory",
                nextStep: "let the control domain read it: xenpr protect \(guest) --salvage control; or make it type = \"pvh\"")
        }
    }

    /// The volume must be ours already, or blank and allowed to be made ours.
    func checkVolume(_ path: String, format: Bool, guest: String) async throws(Refusal) {
        for desk in await records() where desk.settings.volume == path && desk.guest != guest {
            throw Refusal(
                409, "volume_in_use", "\(path) is the recovery volume of \(desk.guest)",
                nextStep: "give \(guest) a volume of its own: xenpr protect \(guest) --volume BLOCKDEV")
        }
        let command = "mke2fs -t ext4 -L xenpr-recovery \(path)"
        switch await host.volumeState(path) {
        case .ready:
            return
        case .blank where format:
            do {
                try await host.formatVolume(path)
            } catch {
                throw Refusal(500, "format_failed", "cannot format \(path): \(error.message)", nextStep: command)
            }
        case .blank:
            throw Refusal(
                422, "volume_blank", "\(path) is blank, not a recovery volume",
                nextStep: "\(command), or xenpr protect \(guest) --volume \(path) --format-volume")
        case .foreign(let what):
            throw Refusal(
                422, "volume_foreign", "\(path) is not a recovery volume: it holds \(what)",
                nextStep: "if nothing on it is needed: \(command)")
        case .unusable(let reason):
            throw Refusal(
                422, "volume_unusable", "\(path) cannot be the recovery volume: \(reason)",
                nextStep: "give a block device: xenpr protect \(guest) --volume BLOCKDEV")
        }
    }
}

extension SessionDesk {
    static func clock() -> Timestamp { Timestamp(unixSeconds: Date().timeIntervalSince1970) }
}

extension Refusal {
    static func notProtected(_ guest: String) -> Refusal {
        Refusal(404, "not_protected", "\(guest) is not protected", nextStep: "xenpr protect \(guest)")
    }

    static func couldNotArm(_ guest: String, _ reason: String) -> Refusal {
        if reason.hasPrefix("kernel not supported") {
            return Refusal(
                422, "kernel_not_supported", "cannot protect \(guest): \(reason)",
                nextStep:
                    "start \(guest) with a kernel that has CONFIG_DEBUG_INFO_BTF, CONFIG_KALLSYMS_ALL and CONFIG_VMCORE_INFO")
        }
        return Refusal(422, "cannot_arm", "cannot protect \(guest): \(reason)", nextStep: "xenpr doctor")
    }
}
