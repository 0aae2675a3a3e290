import Foundation

extension FaultSession {
    /// The control domain salvages; the caller's write returns EIO, for it is not made again; the group that CRIU refuses keeps its images, the
    /// others come back.
    func deadMinor() async throws -> String {
        let port = 7401
        let steady = try await FaultWork.start("steady", in: main)
        let caller = try await FaultWork.start("caller", in: main)
        _ = try await FaultWork.start("spoiled", in: main, port: port)
        let before = try await (steady: steady.word(), caller: caller.word())
        // At the next boot somebody else has the port first.
        let units = "/etc/systemd/system"
        try await main.require(
            """
            printf '[Unit]\\nDefaultDependencies=no\\nBefore=xenpr-agent.service\\n[Socket]\\nListenStream=0.0.0.0:\(port)\\n' > \(units)/spoil.socket
            printf '[Service]\\nExecStart=/bin/true\\n' > \(units)/spoil.service
            ln -s ../spoil.socket \(units)/sysinit.target.wants/ && sync
            """)
        try await control.require("xl destroy \(try await minor())")
        try await machine.crash(by: "a write of caller's own") { try await caller.panicFromInside() }
        let record = try await machine.recover(by: .control)
        try await main.require(
            "rm \(units)/sysinit.target.wants/spoil.socket \(units)/spoil.* && systemctl stop spoil.socket && sync")

        let reason = try reason("dead or silent", of: record)
        try expect(record.salvagedBy == "control", "salvaged by \(record.salvagedBy)")
        try await steady.goesOn(from: before.steady)
        try await caller.goesOn(from: before.caller)
        let answer = try await caller.answer()
        try expect(answer == "errno 5", "the write that caused the panic returned \(answer) instead of errno 5 (EIO)")
        let groups = record.summary(trigger: .sysrq, clockOffset: 0).groups
        guard let refused = groups.first(where: { $0.name == "spoiled" }), refused.outcome == "failed" else {
            throw LabFailure("spoiled is \(groups.first { $0.name == "spoiled" }?.outcome ?? "missing") instead of failed")
        }
        let images = try await keptImages(of: "spoiled", in: record)
        return
            "\(reason); the call that caused the panic returned EIO; spoiled is not restored (\(refused.reason ?? "no reason")), "
            + "its \(images) images are kept; \(groups.filter { $0.outcome == "restored" }.count) others go on"
    }

    /// A second panic right after a restore restores nothing.
    func crashLoop() async throws -> String {
        let work = try await FaultWork.start("looping", in: main)
        let before = try await work.word()
        _ = try await crashAndRecover()
        try await work.goesOn(from: before)
        try await restartDaemon(limits: ["crash_loop_s": 86400])
        let record = try await crashAndRecover()
        let reason = try reason("nothing is restored", of: record)
        let isBack = try await work.runs(before)
        try expect(!isBack, "looping runs again after the second panic")
        try await armed()
        return reason
    }

    /// The minor stands still, so the control domain salvages, and xenprd, killed in each state, takes up its work each time.
    func silentMinor() async throws -> String {
        let work = try await FaultWork.start("watched", in: main)
        let before = try await work.word()
        try await restartDaemon(limits: Self.impatiently)
        try await control.require("xl pause \(try await minor())")
        try await machine.crash(.sysrq)
        async let killed = killDaemonInEachState()
        let record = try await machine.recover(by: .control)
        let states = try await killed
        let reason = try reason("did not answer", of: record)
        try expect(record.salvagedBy == "control", "salvaged by \(record.salvagedBy)")
        try await work.goesOn(from: before)
        try await armed()
        return "\(reason); xenprd was killed while armed, \(states.joined(separator: ", ")) and took up its work each time"
    }

    /// There is no answer to wait for.
    private static let impatiently = ["answer_s": 10]

    /// Kills xenprd as soon as it is seen in a state, and starts it again.
    private func killDaemonInEachState() async throws -> [String] {
        let states = ["salvaging", "rebooting", "restoring"]
        let control = control
        for state in states {
            _ = try await poll(every: .milliseconds(200), within: .seconds(400), for: "the state \(state)") {
                try await XenRecoveries.state(in: control)?.hasPrefix(state) == true ? true : nil
            }
            try await machine.killDaemon()
            try await machine.startDaemon(limits: Self.quickly.merging(Self.impatiently) { $1 })
        }
        return states
    }

    /// Main comes back plainly when salvage takes too long.
    func timeLimit() async throws -> String {
        let work = try await FaultWork.start("large", in: main, megabytes: 96)
        let before = try await work.word()
        try await restartDaemon(limits: ["salvage_s": 1])
        let record = try await crashAndRecover()
        let reason = try reason("longer than", of: record)
        let isBack = try await work.runs(before)
        try expect(!isBack, "large runs again, although its salvage was cut off")
        return reason
    }

    /// The group that fits is restored, the other one is reported.
    func fullVolume() async throws -> String {
        try await control.require("xenpr unprotect main", timeout: .seconds(120))
        // What a filesystem check has found is the only thing that xenprd does not clear away. The blocks that ext4 reserves for root are free for a
        // salvage, so they are filled too.
        let filler = "/mnt/lost+found/filler"
        try await control.require(
            """
            mount \(XenMachine.volume) /mnt && find /mnt -mindepth 1 -maxdepth 1 ! -name lost+found -exec rm -rf {} +
            fallocate -l $(($(stat -f -c '%f * %S' /mnt) - (32 << 20))) \(filler) && umount /mnt
            """)
        try await machine.protect()
        let small = try await FaultWork.start("small", in: main)
        let large = try await FaultWork.start("large", in: main, megabytes: 96)
        let before = try await (small: small.word(), large: large.word())
        let record = try await crashAndRecover()
        try await small.goesOn(from: before.small)
        let groups = record.summary(trigger: .sysrq, clockOffset: 0).groups
        guard let left = groups.first(where: { $0.name == "large" }), left.verdict == "refused",
            let reason = left.reasons.first(where: { $0.contains("volume is full") })
        else { throw LabFailure("large is not refused for want of space: \(groups)") }
        let isBack = try await large.runs(before.large)
        try expect(!isBack, "large runs again, although it had no room")
        try await armed()
        try await control.require("xenpr unprotect main", timeout: .seconds(120))
        try await control.require("mount \(XenMachine.volume) /mnt && rm \(filler) && umount /mnt")
        try await machine.protect()
        return "small goes on; large is refused: \(reason)"
    }

    /// Protection is refused with the line to add, and nothing else changes.
    func wrongSetting() async throws -> String {
        try await control.require("xenpr unprotect main", timeout: .seconds(120))
        let file = "/var/tmp/wrong.cfg"
        try await control.require("sed 's/^on_crash.*/on_crash = \"restart\"/' /etc/xen/main.cfg > \(file)")
        let message = try await refusal(config: file)
        try expect(message.contains("on_crash = \"preserve\""), "the refusal does not name the line to add: \(message)")
        return message
    }

    /// A kernel without BTF is refused when protection is asked for.
    func noTypes() async throws -> String {
        try await destroyMain()
        let kernel = "/var/tmp/no-types-vmlinux"
        let config = "/var/tmp/no-types.cfg"
        // The header of vmlinux's BTF (include/uapi/linux/btf.h: magic, version 1, no flags, 24 bytes) loses its magic.
        try await control.require(
            """
            python3 - <<'END'
            data = bytearray(open("/usr/lib/xenpr/main-vmlinux", "rb").read())
            header = b"\\x9f\\xeb\\x01\\x00\\x18\\x00\\x00\\x00"
            assert data.count(header) == 1, data.count(header)
            at = data.find(header)
            data[at:at + 2] = b"\\0\\0"
            open("\(kernel)", "wb").write(data)
            END
            sed 's#^kernel.*#kernel = "\(kernel)"#' /etc/xen/main.cfg > \(config)
            """, timeout: .seconds(120))
        try await createMain(config)
        let message = try await refusal(config: config)
        try expect(message.contains("kernel not supported"), "the refusal does not name the kernel: \(message)")
        try await destroyMain()
        try await control.require("rm \(kernel)")
        return message
    }

    /// A PV guest is refused to a minor, for which Xen would not map its memory; the control domain plans and salvages it.
    func pvGuest() async throws -> String {
        try await destroyMain()
        let config = "/var/tmp/pv.cfg"
        try await control.require("sed 's/^type.*/type = \"pv\"/' /etc/xen/main.cfg > \(config)")
        try await createMain(config)
        let message = try await refusal(config: config)
        try expect(message.contains("--salvage control"), "the refusal does not name the way out: \(message)")
        try await control.require(
            "xenpr protect main --config \(config) --volume \(XenMachine.volume) --salvage control", timeout: .seconds(240))
        let work = try await FaultWork.start("paravirtual", in: main, megabytes: 32)
        let before = try await work.word()
        try await control.require("xenpr plan xen:main | grep -q '^paravirtual .* full '", timeout: .seconds(120))
        try await machine.crash(.sysrq)
        let record = try await machine.recover(by: .control)
        try expect(record.salvagedBy == "control", "salvaged by \(record.salvagedBy)")
        try await work.goesOn(from: before)
        try await destroyMain()
        return "\(message); with it paravirtual goes on"
    }

    /// Asks for a protection that must be refused, and looks that it has changed nothing.
    private func refusal(config: String) async throws -> String {
        let domains = try await control.require("xl list | awk '{ print $1, $2 }'")
        let result = try await control.run(
            "xenpr protect main --config \(config) --volume \(XenMachine.volume)", timeout: .seconds(300))
        try expect(!result.succeeded, "main is protected with \(config)")
        let after = try await control.require("xl list | awk '{ print $1, $2 }'")
        try expect(domains == after, "the domains have changed: \(after)")
        let status = try await control.run("xenpr status main")
        try expect(!status.succeeded, "main is protected after the refusal: \(status.output)")
        try await main.require("true")
        return (result.errors + result.output).split(whereSeparator: \.isNewline).joined(separator: "; ")
    }

    /// The number of images of a group that the volume keeps of a recovery.
    private func keptImages(of group: String, in record: RecoveryRecord) async throws -> Int {
        guard let kept = record.kept else { throw LabFailure("the recovery kept no images") }
        let count = try await control.require(
            """
            mount -o ro,noload \(XenMachine.volume) /mnt
            ls /mnt/\(quoted(kept))/groups/\(group)/images/*.img | wc -l
            umount /mnt
            """)
        guard let number = Int(count.trimmingCharacters(in: .whitespacesAndNewlines)), number > 0 else {
            throw LabFailure("\(kept) on the volume has no images of \(group)")
        }
        return number
    }
}
