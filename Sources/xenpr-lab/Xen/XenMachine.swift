import Foundation

/// How Xen runs main.
enum GuestType: String, CaseIterable {
    case pvh, pv
}

/// Main as a domain of a real Xen, which runs with its control domain in QEMU: xenprd and a minor recover it; when it is a PV domain, xenprd alone.
actor XenMachine: LabMachine {
    nonisolated let main: SSHShell
    nonisolated let control: any Shell
    /// The control domain again, with what only a connection has.
    private let controlConnection: SSHShell

    private let image: MainImage
    private let programs: Programs
    private let salvager: Salvager
    private let type: GuestType
    private let cache: Cache
    private let xen: XenImages
    private let directory: String
    private let progress: Progress
    private var qemu: QEMUProcess?
    private var crash: XenRecoveries.Recovery?

    init(
        image: MainImage, xen: XenImages, programs: Programs, salvager: Salvager, type: GuestType,
        cache: Cache, directory: String, sockets: String, progress: Progress
    ) {
        self.image = image
        self.xen = xen
        self.programs = programs
        self.salvager = salvager
        self.type = type
        self.cache = cache
        self.directory = directory
        self.progress = progress
        main = SSHShell(
            place: "main", address: LabNetwork.main, key: image.key.privateFile, controlSocket: "\(sockets)/main")
        controlConnection = SSHShell(
            place: "the control domain", address: LabNetwork.control, key: image.key.privateFile,
            controlSocket: "\(sockets)/control")
        control = controlConnection
    }

    func boot() async throws {
        try await makeDisks()
        qemu = try await QEMUProcess.start(await arguments(), log: "\(directory)/qemu.log")
        try await controlConnection.connect(within: .seconds(240))
        progress("Xen and the control domain are up; creating main")
        try await control.require("xl create /etc/xen/main.cfg", timeout: .seconds(240))
        try await startDaemon()
        try await main.connect(within: .seconds(600))
        progress("main is up; starting its protection")
        try await protect()
        progress("main is armed: \(salvager == .minor ? "a minor has learned its kernel" : "the control domain will salvage")")
    }

    /// Starts xenprd in the control domain and returns when it answers.
    ///
    /// - Parameter limits: lines of the section `limits` of its configuration that differ from those for emulated guests.
    func startDaemon(limits: [String: Int] = [:]) async throws {
        let file = "/run/xenpr/lab.toml"
        try await control.require(
            """
            cat > \(file)
            setsid xenprd --config \(file) < /dev/null >> /var/log/xen/xenprd.log 2>&1 &
            until curl -s -o /dev/null --unix-socket /run/xenpr/xenprd.sock http://xenprd/v1/guests; do
                kill -0 $! || exit 1
                sleep 0.1
            done
            """, input: Self.configuration(limits), timeout: .seconds(60))
    }

    /// Limits that a loaded host with emulated guests needs longer than xenprd's usual ones.
    private static let limits = ["restore_s": 1200, "answer_s": 60, "arm_s": 600, "heartbeat_s": 60]

    private static func configuration(_ limits: [String: Int]) -> String {
        let lines = Self.limits.merging(limits) { $1 }.map { "\($0) = \($1)\n" }
        return "[limits]\n" + lines.sorted().joined()
    }

    /// Ends xenprd as a crash of its own would: without a chance to put anything in order.
    func killDaemon() async throws {
        try await control.require("kill -9 $(pidof xenprd) && while pidof xenprd > /dev/null; do :; done")
    }

    /// Protects main and returns when it is armed.
    func protect() async throws {
        try await control.require(
            "xenpr protect main --config /etc/xen/main.cfg --volume \(Self.volume) --salvage \(salvager.rawValue)",
            timeout: .seconds(480))
    }

    /// The recovery volume in the control domain.
    static let volume = "/dev/vdc"

    func crash(_ trigger: Trigger) async throws {
        let control = control
        let main = main
        try await crash(by: trigger.rawValue) {
            try await CrashScript.run(trigger, in: main)
            if trigger == .nmi { try await control.require("xl trigger main nmi") }
        }
    }

    /// Does something that brings main's kernel down, and returns once xenprd has seen that.
    func crash(by what: String, _ strike: @escaping @Sendable () async throws -> Void) async throws {
        let known = try await XenRecoveries.all(in: control).count
        // It rarely returns: its connection dies with main.
        let strike = Task { try await strike() }
        defer { strike.cancel() }
        try await seeCrash(by: what, after: known)
    }

    /// Returns once xenprd has seen a crash, when there were so many before.
    func seeCrash(by what: String, after known: Int) async throws {
        let control = control
        // xenprd's list is the sign: the dead domain itself may be gone again before anybody looks.
        let seen: XenRecoveries.Recovery = try await poll(
            every: .milliseconds(500), within: .seconds(180), for: "the crash by \(what)"
        ) {
            let recoveries = try await XenRecoveries.all(in: control)
            return recoveries.count > known ? recoveries.first : nil
        }
        crash = seen
        progress("main's kernel is dead; xenprd calls this recovery \(seen.id)")
        await main.disconnect()
    }

    /// Crashes main while nobody watches, and returns once Xen shows that it is dead. Main has to be disconnected then.
    func crashUnwatched() async throws {
        let strike = Task { [main] in try await CrashScript.run(.sysrq, in: main) }
        defer { strike.cancel() }
        // The fifth column of xl list is the state; c in it is "crashed".
        try await control.require(
            "until xl list main | awk 'NR == 2 && $5 ~ /c/ { found = 1 } END { exit !found }'; do :; done",
            timeout: .seconds(120))
    }

    func recover(by salvager: Salvager) async throws -> RecoveryRecord {
        guard let crash else { throw LabFailure("cannot recover main: it has not crashed") }
        let control = control
        let progress = progress
        let states = StateProgress()
        let ended: XenRecoveries.Recovery = try await poll(
            every: .seconds(1), within: .seconds(900), for: "the end of recovery \(crash.id)"
        ) {
            // A question that a busy control domain did not answer in time is asked again, until the limit is over.
            if let state = try? await XenRecoveries.state(in: control), await states.isNew(state) { progress(state) }
            return try? await XenRecoveries.all(in: control).first { $0.id == crash.id && $0.outcome != "running" }
        }
        await keepLogs()
        for reason in ended.reasons { progress(reason) }
        try await scanForPanics()
        try await main.connect(within: .seconds(300))
        var record = RecoveryRecord(
            crashedAt: Date(timeIntervalSince1970: ended.crashedAt), salvagedBy: ended.salvagedBy ?? "nobody",
            reasons: ended.reasons, kept: ended.kept)
        record.phases = ended.timeline.map {
            Phase(phase: $0.phase, start: $0.start - ended.crashedAt, seconds: $0.seconds, bytes: $0.bytes, pages: $0.pages)
        }
        record.recovery = ended.text
        record.report = try await main.run("xenpr-agent report --format json", timeout: .seconds(60)).output
        return record
    }

    /// Writes so many bytes to the recovery volume with dd, in the control domain, until they are durable. Returns the seconds that dd took.
    ///
    /// The volume must be the control domain's to mount: main has let go of it, and the minor takes it only for a salvage.
    func writeVolumePlainly(bytes: Int) async throws -> Double {
        let control = control
        _ = try await poll(every: .seconds(1), within: .seconds(300), for: "main to be armed again") {
            try await XenRecoveries.state(in: control) == "armed" ? true : nil
        }
        let times = try await control.require(
            """
            mount \(Self.volume) /mnt
            date +%s.%N
            dd if=/dev/zero of=/mnt/plain bs=1M count=\((bytes + (1 << 20) - 1) >> 20) conv=fsync 2> /dev/null
            date +%s.%N
            rm /mnt/plain
            umount /mnt
            """, timeout: .seconds(300)
        ).split(whereSeparator: \.isNewline).compactMap { Double($0) }
        guard times.count == 2 else { throw LabFailure("cannot write to \(Self.volume) in the control domain") }
        return times[1] - times[0]
    }

    /// Ends main's protection, crashes it, and creates it anew as soon as Xen shows that it is dead. Returns the seconds from then until main
    /// takes commands.
    func crashAndRebootPlainly() async throws -> Double {
        try await control.require("xenpr unprotect main", timeout: .seconds(240))
        try await crashUnwatched()
        let start = ContinuousClock.now
        await main.disconnect()
        try await control.require("xl destroy main && xl create /etc/xen/main.cfg", timeout: .seconds(240))
        try await main.connect(within: .seconds(300))
        return (ContinuousClock.now - start).seconds
    }

    /// Xen says it here when a guest has met a triple fault, which no kernel of the lab does by itself: whatever such a guest shows
    /// afterwards says nothing about recovery.
    func watch() async throws {
        let log = "\(directory)/xen-and-control.serial.log"
        while true {
            try await Task.sleep(for: .seconds(2))
            let text = (try? String(contentsOfFile: log, encoding: .utf8)) ?? ""
            if let line = text.split(whereSeparator: \.isNewline).first(where: { $0.contains("Triple fault") }) {
                throw LabFailure("the emulator has lost a guest, nothing of this run counts; see \(log): \(line)")
            }
        }
    }

    func shutdown() async {
        await main.disconnect()
        if qemu != nil { await keepLogs() }
        await controlConnection.disconnect()
        await qemu?.quit()
    }

    /// The states that were shown already.
    private actor StateProgress {
        private var last = ""
        func isNew(_ state: String) -> Bool {
            defer { last = state }
            return state != last
        }
    }

    private func makeDisks() async throws {
        for (name, base) in [("control", xen.control.disk), ("main", image.disk)] {
            try await Tool.require(
                "qemu-img", ["create", "-q", "-f", "qcow2", "-F", "raw", "-b", base, "\(directory)/\(name).qcow2"])
        }
        let empty = "\(directory)/empty"
        try FileManager.default.createDirectory(atPath: empty, withIntermediateDirectories: true)
        try await DiskImage.makeExt4(at: "\(directory)/recovery.ext4", from: empty, label: "xenpr-recovery", megabytes: 2048)
        try await XenPayload.make(
            image: image, hostKernel: xen.kernel, programs: programs, type: type, cache: cache,
            at: "\(directory)/payload.ext4")
    }

    private func arguments() async -> [String] {
        let kvm = await HostProcessor.startsKVMGuests()
        func disk(_ file: String, _ format: String) -> [String] {
            ["-drive", "file=\(directory)/\(file),if=virtio,format=\(format),cache=unsafe"]
        }
        return [
            "-accel", kvm ? "kvm" : "tcg,thread=multi", "-cpu", kvm ? "host" : Self.emulatedProcessor, "-smp", "2",
            "-m", "3072", "-display", "none", "-no-reboot", "-serial", "file:\(directory)/xen-and-control.serial.log",
            "-kernel", xen.hypervisor.image,
            "-append", Self.hypervisorCommandLine,
            "-initrd",
            "\(xen.kernel.image) console=hvc0 root=/dev/vda net.ifnames=0 loglevel=5 panic=0,\(xen.control.initramfs)",
        ] + disk("control.qcow2", "qcow2") + disk("main.qcow2", "qcow2") + disk("recovery.ext4", "raw")
            + disk("payload.ext4", "raw") + [
                "-netdev", "tap,id=lab,ifname=\(LabNetwork.tap),script=no,downscript=no",
                "-device", "virtio-net-pci,netdev=lab,romfile=", "-device", "virtio-rng-pci",
            ]
    }

    /// The control domain keeps to the first CPU, main and the minor to the second (`cpus` of their configurations). When QEMU's software
    /// emulation enters a guest with an interrupt to inject (helper_vmrun, target/i386/tcg/sysemu/svm_helper.c, 7.2), it can leave the
    /// interrupt pending on its own CPU as well; seen with guests that move between CPUs, which then die of a triple fault.
    private static let hypervisorCommandLine =
        "dom0_mem=1024M,max:1024M dom0_max_vcpus=1 dom0_vcpus_pin xpti=no spec-ctrl=no com1=115200,8n1 console=com1 "
        + "loglvl=warning"

    /// The model that computes right: with XSAVE, QEMU's emulation of nested virtualisation silently corrupts the vector registers
    /// of programs; with SMAP or SMEP a PV control domain dies at once, with RDTSCP a PVH guest gets #GP.
    private static let emulatedProcessor =
        "EPYC-Milan,+svm,-smap,-smep,-rdtscp,-avx,-avx2,-fma,-f16c,-xsave,-xsaveopt,-pku,-vaes,-vpclmulqdq"

    /// Copies the consoles of all domains and the log of xenprd to the run's directory; what cannot be had is left out.
    private func keepLogs() async {
        guard let list = try? await control.run("ls /var/log/xen/console/*.log /var/log/xen/*.log") else { return }
        for path in list.output.split(whereSeparator: \.isNewline).map(String.init) {
            guard let text = try? await control.readFile(path) else { continue }
            let name = (path as NSString).lastPathComponent
            try? text.write(toFile: "\(directory)/\(name)", atomically: false, encoding: .utf8)
        }
    }

    /// Main's panic is what the run wants; one of the minor or of the control domain is a fault of ours.
    private func scanForPanics() async throws {
        let names = try FileManager.default.contentsOfDirectory(atPath: directory)
        for name in names where name.hasSuffix(".log") && !name.hasPrefix("guest-main") {
            guard let text = try? String(contentsOfFile: "\(directory)/\(name)", encoding: .utf8) else { continue }
            for line in text.split(whereSeparator: \.isNewline) {
                if line.contains("Kernel panic") || line.contains("Oops:") {
                    throw LabFailure("unexpected panic in \(directory)/\(name): \(line)")
                }
            }
        }
    }
}
