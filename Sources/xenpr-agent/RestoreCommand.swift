import Glibc
import PlainJSON

/// `xenpr-agent restore`: brings back what the recovery volume holds, once.
struct RestoreCommand {
    /// Finds the volume, catches files up, restores each group and reports. A group that fails does not stop the others.
    func run() throws(AgentError) -> Int32 {
        try makeDirectories("/var/lib/xenpr", mode: 0o700)
        guard let volume = RecoveryVolume.find() else {
            try PIDFloor.raise()
            printError("nothing to restore: no block device has the label \(RecoveryVolume.label)")
            return ExitCode.done
        }
        let report: RestoreReport
        do throws(AgentError) {
            try volume.mount()
            // The control domain takes the volume away once the report is there, so it is unmounted before.
            defer { volume.unmount() }
            guard let done = try restore(from: RecoveryVolume.mountPoint) else {
                try PIDFloor.raise()
                printError("nothing to restore: \(volume.device) holds no recovery.json")
                XenStore.publish(RestoreReport(id: nil, failure: "the recovery volume holds no recovery.json").json.text())
                return ExitCode.done
            }
            report = done
        } catch {
            _ = try? PIDFloor.raise()
            XenStore.publish(RestoreReport(id: nil, failure: error.description).json.text())
            throw error
        }
        XenStore.publish(report.published.text())
        return report.exitCode
    }

    /// Restores what the mounted volume holds, and leaves a report on it and in /var/lib/xenpr. Nil when it holds nothing.
    private func restore(from directory: String) throws(AgentError) -> RestoreReport? {
        let path = directory + "/recovery.json"
        guard System.exists(path) else { return nil }
        let manifest = try RecoveryManifest(parsing: try readFile(path))
        // What is restored once has gone on since, so it must never be restored again, whatever happens from here on.
        guard System.rename(path, directory + "/recovery.done.json") == 0 else {
            throw systemError("cannot rename \(path)")
        }
        synchronizeDirectory(directory)

        var report = RestoreReport(id: manifest.id)
        XenStore.show(progress: "files")
        report.measure("files") { report in
            var catchUp = FileCatchUp(volume: directory, recovery: manifest.id, crashedAt: manifest.crashedAt)
            var mounts = MemoryMounts()
            /// Where there is another filesystem now: what is caught up there would be hidden later, or be in the way.
            var missing = manifest.mountPoints.filter { !isMountPoint($0) }
            for path in missing { catchUp.note(AgentError(description: "its filesystem is not mounted"), at: path) }
            for mount in manifest.memoryMounts {
                do throws(AgentError) { try mounts.mount(mount) } catch {
                    catchUp.note(error, at: mount.path)
                    missing.append(mount.path)
                }
            }
            catchUp.touched = mounts.made
            func isThere(_ path: String) -> Bool { !missing.contains { path == $0 || path.hasPrefix($0 + "/") } }
            catchUp.apply(
                files: manifest.files.filter { isThere($0.path) }, removed: manifest.removed.filter { isThere($0.path) },
                directories: manifest.directories.filter { isThere($0.path) })
            mounts.finish()
            report.files = catchUp.problems
            printError("files: \(catchUp.files) caught up, \(catchUp.bytes) bytes, \(catchUp.problems.count) with a problem")
            return catchUp.bytes
        }
        for problem in report.files { printError("files: \(problem.path): \(problem.reason)") }
        report.measure("processes") { report in
            restoreGroups(of: manifest, from: directory, into: &report)
            return 0
        }

        let text = report.json.bytes(.pretty)
        do throws(AgentError) {
            try replaceFile(directory + "/report.json", with: text)
            try replaceFile(RestoreReport.path, with: text)
        } catch {
            printError("warning: \(error)")
        }
        return report
    }

    private func restoreGroups(of manifest: RecoveryManifest, from directory: String, into report: inout RestoreReport) {
        do throws(AgentError) {
            try PIDFloor.raise(above: manifest.largestPID)
        } catch {
            printError("warning: \(error)")
        }
        let settings = NetworkSettings()
        defer { settings.end() }
        _ = try? ChildProgram(arguments: ["modprobe", "-abq"] + GroupRestore.kernelModules).run(timeoutSeconds: 30)
        keepTemporaryFiles()
        let priority = RestorePriority()
        defer { priority.end() }
        let results = GroupQueue(groups: manifest.groups, directory: directory + "/groups").run()
        report.groups += results
    }

    /// Has systemd-tmpfiles leave /tmp as it is at this boot: restored processes may hold files there, and Debian's rule
    /// ("D /tmp") would remove them. A rule file in /run takes the place of one with the same name in /usr/lib.
    private func keepTemporaryFiles() {
        guard let rules = readText("/usr/lib/tmpfiles.d/tmp.conf") else { return }
        let kept = rules.split(separator: "\n", omittingEmptySubsequences: false).map { line in
            line.hasPrefix("D") ? "d" + line.dropFirst() : String(line)
        }
        do throws(AgentError) {
            try makeDirectories("/run/tmpfiles.d")
            try replaceFile("/run/tmpfiles.d/tmp.conf", with: Array(kept.joined(separator: "\n").utf8))
        } catch {
            printError("warning: \(error)")
        }
    }
}

/// How the kernel's network is set while groups come back.
private struct NetworkSettings {
    private let before: [(path: String, value: String)]

    init() {
        // Sockets may be bound to addresses that the system does not have yet: groups come back before the network does.
        var settings = ["/proc/sys/net/ipv4/ip_nonlocal_bind", "/proc/sys/net/ipv6/ip_nonlocal_bind"].map { ($0, "1") }
        // A module of tunnels puts a device of its own into each network namespace that is made, with a number that another device of the group may have.
        settings.append(("/proc/sys/net/core/fb_tunnels_only_for_init_net", "1"))
        // What was in the queues of connections has to fit again, though in smaller pieces, which take more memory: tcp_mem is
        // three numbers of pages.
        let memory = "/proc/sys/net/ipv4/tcp_mem"
        let pages = (readText(memory) ?? "").split(whereSeparator: \.isWhitespace).compactMap { Int64($0) }
        if pages.count == 3 {
            settings.append((memory, pages.map { String(min($0, Int64(Int32.max)) * 16) }.joined(separator: " ")))
        }
        before = settings.compactMap { path, new in
            guard let value = readText(path), (try? writeControlFile(path, new)) != nil else { return nil }
            return (path, value)
        }
    }

    func end() {
        for (path, value) in before { try? writeControlFile(path, value) }
    }
}
