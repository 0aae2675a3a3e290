import Foundation

/// Main as a plain QEMU guest: it panics, its memory is dumped to a file, the file is salvaged offline, and a fresh boot from the
/// same disk restores what salvage saved. The host plays the control domain.
actor QEMUMachine: LabMachine {
    nonisolated let main: SSHShell
    nonisolated let control: any Shell = HostShell()

    private let image: MainImage
    private let programs: Programs
    /// Where disks and logs of this run are.
    private let directory: String
    private let progress: Progress
    private let memoryMebibytes: Int
    private var qemu: QEMUProcess?
    private var boots = 0
    private var usesSwap = false
    private var crashedAt = ContinuousClock.now
    private var crashDate = Date()

    private var disk: String { "\(directory)/main.qcow2" }
    private var recoveryVolume: String { "\(directory)/recovery.ext4" }

    init(
        image: MainImage, programs: Programs, directory: String, sockets: String, progress: Progress, memoryMebibytes: Int = 768
    ) {
        self.image = image
        self.programs = programs
        self.directory = directory
        self.progress = progress
        self.memoryMebibytes = memoryMebibytes
        main = SSHShell(
            place: "main", address: LabNetwork.main, key: image.key.privateFile, controlSocket: "\(sockets)/main")
    }

    func boot() async throws {
        try await Tool.require(
            "qemu-img", ["create", "-q", "-f", "qcow2", "-F", "raw", "-b", image.disk, disk])
        try await start(volume: nil)
    }

    func crash(_ trigger: Trigger) async throws {
        guard let qemu else { throw LabFailure("cannot crash main: it does not run") }
        usesSwap =
            try await main.run("cat /proc/swaps", timeout: .seconds(30)).output.split(whereSeparator: \.isNewline).count > 1
        let started = ContinuousClock.now
        let strike = Task { [main] in try await CrashScript.run(trigger, in: main) }
        defer { strike.cancel() }
        if trigger == .nmi {
            try await strike.value
            try await qemu.command("inject-nmi", timeout: .seconds(10))
        }
        let dead: Set<String> = trigger == .hung ? ["WATCHDOG", "GUEST_PANICKED"] : ["GUEST_PANICKED"]
        _ = try await qemu.event(dead, within: .seconds(240), doing: "crash main by \(trigger.rawValue)")
        crashedAt = ContinuousClock.now
        crashDate = Date()
        progress("main's kernel died \((crashedAt - started).seconds.padded(0)) s after the trigger \(trigger.rawValue)")
        await main.disconnect()
    }

    func recover(by salvager: Salvager) async throws -> RecoveryRecord {
        var record = RecoveryRecord(crashedAt: crashDate, salvagedBy: "offline")
        var dump = ""
        try await phase("crashed", in: &record) { dump = try await self.dump() }
        try await phase("salvaging", in: &record) { try await self.salvage(dump) }
        record.recovery = try? String(contentsOfFile: "\(directory)/recovery/recovery.json", encoding: .utf8)
        try await phase("rebooting", in: &record) { try await self.start(volume: self.recoveryVolume) }
        record.report = try await main.run("xenpr-agent report --format json", timeout: .seconds(60)).output
        return record
    }

    /// Writes the memory and the registers of the dead guest to files, and ends it. Returns the path of the dump; that of the registers has
    /// `.registers` behind it.
    func dump() async throws -> String {
        guard let qemu else { throw LabFailure("cannot dump main: it has not run") }
        let dump = "\(directory)/dump.elf"
        let registers = try await qemu.monitor("info registers -a", timeout: .seconds(30))
        try registers.write(toFile: dump + ".registers", atomically: false, encoding: .utf8)
        try await qemu.command(
            "dump-guest-memory", arguments: "{\"paging\":false,\"protocol\":\"file:\(dump)\"}", timeout: .seconds(300))
        await qemu.quit()
        return dump
    }

    func shutdown() async {
        await main.disconnect()
        await qemu?.quit()
    }

    private func salvage(_ dump: String) async throws {
        let tree = "\(directory)/recovery"
        let log = "\(directory)/salvage.log"
        try FileManager.default.createDirectory(atPath: tree, withIntermediateDirectories: true)
        var arguments = ["salvage", dump, "--registers", dump + ".registers", "--to", tree]
        if usesSwap {
            // What main has swapped out is on its disk.
            let raw = "\(directory)/main.raw"
            try await Tool.require("qemu-img", ["convert", "-O", "raw", disk, raw])
            arguments += ["--disk", "vda=\(raw)"]
        }
        let result = try await Tool.run(programs.xenpr, arguments, timeout: .seconds(180))
        try (result.output + result.errors).write(toFile: log, atomically: false, encoding: .utf8)
        // 2 means that some groups could not be saved: the others come back, and the cases of these fail by themselves.
        guard result.status == 0 || result.status == 2 else {
            throw LabFailure(
                "cannot salvage \(dump): \(result.lastLine ?? "exit status \(result.status)"); the output is in \(log)")
        }
        let kilobytes = try await Tool.require("du", ["-sk", tree]).split(separator: "\t").first.flatMap { Int($0) } ?? 0
        try await DiskImage.makeExt4(
            at: recoveryVolume, from: tree, label: "xenpr-recovery", megabytes: kilobytes / 1024 * 5 / 4 + 64)
    }

    /// Measures one phase from the crash on.
    private func phase(
        _ name: String, in record: inout RecoveryRecord, _ body: () async throws -> Void
    ) async throws {
        progress(name)
        let start = ContinuousClock.now
        try await body()
        record.phases.append(
            Phase(phase: name, start: (start - crashedAt).seconds, seconds: (ContinuousClock.now - start).seconds))
    }

    /// Boots main until it takes commands.
    ///
    /// QEMU's emulation with several threads (seen with 7.2) can leave a CPU of the guest at an instruction that the kernel has just patched, for ever:
    /// a soft lockup before there is any user space. No disk was touched by then, so such a boot is begun again, and the run says so.
    private func start(volume: String?) async throws {
        for _ in 1...Self.bootLimit {
            try await startOnce(volume: volume)
            let log = "\(directory)/main-\(boots).serial.log"
            if try await connect(unlessStuckIn: log) { return }
            progress("the emulator has left main's kernel stuck in its boot (\(log)); booting again")
            await main.disconnect()
            await qemu?.quit()
        }
        throw LabFailure("the emulator has left main's kernel stuck in \(Self.bootLimit) boots; see \(directory)")
    }

    private static let bootLimit = 3

    /// Waits until main takes commands; false when its kernel is stuck before user space.
    private func connect(unlessStuckIn log: String) async throws -> Bool {
        try await withThrowingTaskGroup(of: Bool?.self) { [main] group in
            group.addTask {
                try await main.connect(within: .seconds(420))
                return true
            }
            group.addTask {
                while true {
                    try await Task.sleep(for: .seconds(2))
                    let text = (try? String(contentsOfFile: log, encoding: .utf8)) ?? ""
                    if text.contains(Initramfs.userSpaceBegins) { return nil }
                    if text.contains("soft lockup") { return false }
                }
            }
            defer { group.cancelAll() }
            // The watch ends with user space; from then on only the connection counts.
            while let result = try await group.next() {
                if let isUp = result { return isUp }
            }
            return false
        }
    }

    private func startOnce(volume: String?) async throws {
        boots += 1
        let kvm = await HostProcessor.startsKVMGuests()
        var arguments = [
            "-accel", kvm ? "kvm" : "tcg,thread=multi", "-cpu", kvm ? "host" : "EPYC-Milan", "-smp", "2",
            "-m", "\(memoryMebibytes)", "-display", "none", "-no-reboot", "-no-user-config", "-nodefaults",
            "-serial", "file:\(directory)/main-\(boots).serial.log",
            // Linux has a driver for the PCI form of pvpanic since 5.13, before that only for the ISA form.
            "-device", "vmcoreinfo", "-device", "pvpanic-pci", "-device", "pvpanic",
            "-device", "i6300esb", "-action", "panic=pause,watchdog=pause",
            "-kernel", image.kernel.image, "-initrd", image.initramfs,
            "-append", MainImage.commandLine(console: "ttyS0", root: "/dev/vda", address: LabNetwork.main),
            "-drive", "file=\(disk),if=virtio,format=qcow2,cache=unsafe",
            "-netdev", "tap,id=lab,ifname=\(LabNetwork.tap),script=no,downscript=no", "-device",
            "virtio-net-pci,netdev=lab,romfile=",
            "-device", "virtio-rng-pci",
        ]
        if let volume { arguments += ["-drive", "file=\(volume),if=virtio,format=raw,cache=unsafe"] }
        qemu = try await QEMUProcess.start(arguments, log: "\(directory)/qemu.log")
    }
}
