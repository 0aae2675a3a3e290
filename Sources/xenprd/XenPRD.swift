import ArgumentParser
import Daemon
import Glibc
import Logging
import ServiceLifecycle
import UnixSignals

/// The daemon of the control domain: recovers protected guests from the panics of their kernels.
@main
struct XenPRD: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "xenprd",
        abstract: "Recover the processes of protected Xen guests after a kernel panic.",
        discussion: "Runs in the foreground; logs to stderr; ends on SIGTERM without letting any guest go.",
        version: "0.1.0")

    @Option(help: ArgumentHelp("Configuration; everything in it is optional.", valueName: "FILE"))
    var config: String?

    func run() async throws {
        let settings: DaemonConfiguration
        do {
            settings = try DaemonConfiguration.load(config)
        } catch {
            fail("\(error)")
        }
        let level = settings.logLevel
        LoggingSystem.bootstrap { _ in StderrLogHandler(level: level) }
        let logger = Logger(label: "xenprd")
        // A client that hangs up must not end the daemon; files of ours are for root and its group only.
        _ = signal(SIGPIPE, SIG_IGN)
        umask(0o027)
        do {
            try await serve(settings, logger)
        } catch {
            fail("\(error)")
        }
        logger.notice("ended; every guest stays in its state")
    }

    private func serve(_ settings: DaemonConfiguration, _ logger: Logger) async throws {
        try makeDirectory(settings.runDirectory)
        try makeDirectory(settings.stateDirectory)
        let lock = try InstanceLock(path: settings.stateDirectory + "/lock")
        let journal = try Journal(path: settings.stateDirectory + "/journal.sqlite")
        let host = try XenHost(settings: settings, logger: logger)
        let registry = GuestRegistry(host: host, journal: journal, hub: EventHub(), limits: settings.limits, logger: logger)
        let handler = APIHandler(registry: registry, defaultVolume: settings.volume, logger: logger)
        let server = APIServer(path: settings.socket, handler: handler, logger: logger)
        let group = ServiceGroup(
            configuration: .init(
                services: [.init(service: registry), .init(service: server)],
                gracefulShutdownSignals: [.sigterm, .sigint], logger: logger))
        try await group.run()
        lock.release()
    }

    /// One line on stderr and exit code 1: systemd shows it, and a person understands it.
    private func fail(_ message: String) -> Never {
        writeToStderr("error: \(message)\n")
        Glibc.exit(1)
    }
}

/// Makes a directory with those above it; one that is there is fine.
func makeDirectory(_ path: String) throws(ToolFailure) {
    var made = ""
    for part in path.split(separator: "/") {
        made += "/\(part)"
        // A string of ours; the call keeps no pointer.
        if unsafe mkdir(made, 0o755) != 0, errno != EEXIST {
            throw ToolFailure("cannot make directory \(made): \(errorText(errno))")
        }
    }
}

/// The system's words for an error number.
func errorText(_ number: Int32) -> String {
    // strerror gives a C string that lives until the thread's next call; it is copied at once.
    unsafe String(cString: strerror(number))
}

func writeToStderr(_ text: String) {
    var text = text
    text.withUTF8 { bytes in
        // The bytes live for the call; a closed stderr must not end the daemon.
        _ = unsafe write(STDERR_FILENO, bytes.baseAddress, bytes.count)
    }
}
