import ArgumentParser
import DaemonAPI
import Foundation
import Recovery

extension Salvager: ExpressibleByArgument {}

struct ProtectCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "protect", abstract: "Recover a guest's processes when its kernel panics, from now on.",
        discussion: "Returns when the guest is armed; whatever stands against it is refused here, and nothing is changed.")

    @Argument(help: ArgumentHelp("The guest's name in xl list.", valueName: "domain"))
    var domain: String
    @Option(help: ArgumentHelp("The guest's xl configuration (default: /etc/xen/DOMAIN.cfg).", valueName: "FILE"))
    var config: String?
    @Option(help: ArgumentHelp("Block device for checkpoints (default: volume in xenprd.toml).", valueName: "BLOCKDEV"))
    var volume: String?
    @Option(
        help: ArgumentHelp(
            "Who reads the dead guest: a minor domain, or the control domain itself.", valueName: "minor|control"))
    var salvage: Salvager = .minor
    @Flag(help: "Make the volume's file system when it is blank; one that holds anything is never touched.")
    var formatVolume = false
    @OptionGroup var output: OutputOptions
    @OptionGroup var daemon: DaemonOptions

    func run() async throws {
        let absolute = { (path: String) in URL(fileURLWithPath: path).standardizedFileURL.path }
        let wish = ProtectRequest(
            config: config.map(absolute), volume: volume.map(absolute), salvage: salvage, format: formatVolume)
        let answer = try await daemon.client.put(GuestDocument.self, "/v1/guests/\(try guestName(domain))", wish)
        try show(answer, output.format)
        if answer.body.state != .armed {
            throw CommandFailure(
                "\(domain) is \(answer.body.state.rawValue), not armed: \(answer.body.detail ?? "see xenpr status")")
        }
    }
}

struct UnprotectCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "unprotect", abstract: "End a guest's protection; the guest itself goes on.",
        discussion: "A guest that is being recovered is brought back first.")

    @Argument(help: ArgumentHelp("The guest's name.", valueName: "domain"))
    var domain: String
    @OptionGroup var output: OutputOptions
    @OptionGroup var daemon: DaemonOptions

    func run() async throws {
        let answer = try await daemon.client.delete(GuestDocument.self, "/v1/guests/\(try guestName(domain))")
        try show(answer, output.format)
        if answer.body.state == .unprotected {
            note(
                "\(domain): on_crash = \"preserve\" still holds, so a crash would leave it dead; set it to \"restart\" in \(answer.body.config)"
            )
        } else {
            note("\(domain) is \(answer.body.state.rawValue): its protection ends as soon as it is back")
        }
    }
}

struct StatusCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "status", abstract: "Show the protected guests and the state each is in.")

    @Argument(help: ArgumentHelp("Only this guest.", valueName: "domain"))
    var domain: String?
    @Flag(help: "Follow what happens, a line for each change; ends with ^C, or when xenprd ends.")
    var watch = false
    @OptionGroup var output: OutputOptions
    @OptionGroup var daemon: DaemonOptions

    func run() async throws {
        if let domain {
            try show(try await daemon.client.get(GuestDocument.self, "/v1/guests/\(try guestName(domain))"), output.format)
        } else {
            let answer = try await daemon.client.get(GuestsDocument.self, "/v1/guests")
            switch output.format {
            case .json: try printJSON(answer)
            case .table: table(answer.body.guests).printOut()
            }
        }
        if watch {
            flushOutput()
            try await follow()
        }
    }

    private func follow() async throws {
        var last = ""
        try await EventFollower(socket: daemon.socket).run { event in
            guard domain == nil || event.guest.guest == domain else { return }
            switch output.format {
            case .json:
                print(String(decoding: try WireCoding.encode(Schema("xenpr.event/1", event)), as: UTF8.self))
            case .table:
                let step = event.transition.map { "\($0.from.rawValue) → \($0.to.rawValue)" } ?? event.guest.state.rawValue
                let text = "\(event.guest.guest)  \(step)" + (event.guest.detail.map { ": \($0)" } ?? "")
                // A record may be kept anew for something that people are not shown.
                guard event.transition != nil || (event.guest.detail != nil && text != last) else { return }
                last = text
                print("\(clockText(event.transition?.at ?? Timestamp(unixSeconds: Date().timeIntervalSince1970)))  \(text)")
            }
            // A follower at the end of a pipe wants each line when it happens.
            flushOutput()
        }
        throw CommandFailure("xenprd has ended: systemctl status xenprd")
    }
}

/// A guest's name as the path of a request; what cannot be one is refused before it is sent.
func guestName(_ name: String) throws -> String {
    guard GuestName.isValid(name) else {
        throw ValidationError("a guest's name is 1 to 64 letters, digits and ._+-, not \(name)")
    }
    return name
}

private func show(_ answer: Schema<GuestDocument>, _ format: OutputFormat) throws {
    switch format {
    case .json: try printJSON(answer)
    case .table: table([answer.body]).printOut()
    }
}

private func table(_ guests: [GuestDocument]) -> Table {
    var table = Table("GUEST", "STATE", "SINCE", "MAIN", "MINOR", "KERNEL", "DETAIL")
    for guest in guests {
        table.add(
            guest.guest, guest.state.rawValue, timeText(guest.since), guest.mainDomain.map(String.init) ?? "-",
            guest.minorDomain.map(String.init) ?? "-", guest.kernel ?? "-",
            (guest.detail ?? "") + (guest.leaving && guest.state != .unprotected ? " (protection ends when it is back)" : ""))
    }
    return table
}
