import Daemon
import DaemonAPI
import Foundation
import Logging
import Recovery
import XenControl

/// The real Xen host.
struct XenHost: DaemonHost {
    let settings: DaemonConfiguration
    let xen: XenConnection
    let watcher: XenWatcher
    let logger: Logger

    init(settings: DaemonConfiguration, logger: Logger) throws {
        self.settings = settings
        self.logger = logger
        do {
            xen = try XenConnection()
            watcher = try XenWatcher(logger: logger)
        } catch {
            throw ToolFailure("\(error); xenprd runs in Xen's control domain only")
        }
    }

    func guest(_ name: String) -> XenGuest {
        XenGuest(name: name, settings: settings, xen: xen, watcher: watcher, logger: logger)
    }

    func changes() -> AsyncStream<Void> {
        let (stream, continuation) = AsyncStream.makeStream(of: Void.self, bufferingPolicy: .bufferingNewest(1))
        let task = Task { await watcher.run { continuation.yield() } }
        continuation.onTermination = { _ in task.cancel() }
        return stream
    }

    func configuration(of guest: String, at path: String) async throws(WorldFailure) -> MainConfiguration {
        guard let data = FileManager.default.contents(atPath: path) else {
            throw .failed("there is no readable file \(path)")
        }
        guard data.count <= 1 << 20 else { throw .failed("\(path) is larger than 1 MiB") }
        let file = XLConfiguration(String(decoding: data, as: UTF8.self))
        // A builder line is the older way to say what type says.
        let type = file["type"] ?? file["builder"].map { $0 == "generic" ? "pv" : $0 }
        var configuration = MainConfiguration(name: file["name"], type: type, onCrash: file["on_crash"])
        configuration.tscMode = file["tsc_mode"]
        configuration.liveOnCrash = await liveOnCrash(guest)
        return configuration
    }

    /// What the toolstack will do when the running domain crashes; the file may have been changed since it was started.
    private func liveOnCrash(_ guest: String) async -> String? {
        struct Listing: Decodable {
            struct Config: Decodable {
                var on_crash: String?
            }
            var config: Config?
        }
        guard let result = try? await Tool.run(settings.xl, ["list", "-l", guest], seconds: 30), result.code == 0 else {
            return nil
        }
        let data = Data(result.output.utf8)
        // One object for one domain, or a list of them, depending on xl's version.
        let listing =
            (try? JSONDecoder().decode([Listing].self, from: data))?.first
            ?? (try? JSONDecoder().decode(Listing.self, from: data))
        return listing?.config?.on_crash
    }

    func volumeState(_ path: String) async -> VolumeState { await RecoveryVolume.state(of: path) }

    func formatVolume(_ path: String) async throws(WorldFailure) {
        do {
            try await RecoveryVolume.format(path)
        } catch {
            throw .failed("\(error)")
        }
    }
}
