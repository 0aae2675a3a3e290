import XenControl

/// The minor's side of its protocol with the control domain: nodes in xenstore below `xenpr/` of the minor's own directory.
///
/// Paths are relative, which xenstore takes for the directory of the domain that asks.
final class ControlLink {
    enum State: String {
        case booting, learning, armed, refused, mapping, salvaging, done, failed
        /// What is to be saved is in part on disks of main's, which the minor asks for.
        case waiting
    }

    enum Command: String {
        case salvage, shutdown
        /// The disks that were asked for are attached.
        case disks
    }

    /// The largest vCPU context believed: Xen's limit of vCPUs for a guest, 128, takes about 700 KiB.
    private static let contextLimit = 4 << 20

    private let store: XenStore
    private var beats = 0
    /// The domain number of main.
    let main: UInt32
    /// Main's name, for the manifest.
    let name: String

    init() throws {
        store = try XenStore()
        guard let text = try store.read("xenpr/main"), let main = UInt32(text) else {
            throw MinorFailure("cannot learn whom to protect: the xenstore node xenpr/main holds no domain number")
        }
        self.main = main
        name = try store.read("xenpr/name") ?? "domain \(main)"
        try store.watch("xenpr/command", token: "command")
        enter(.booting)
    }

    /// The identity of the recovery, as the control domain names it.
    var recovery: String? { (try? store.read("xenpr/id")) ?? nil }

    /// One past main's highest frame, when the control domain has said it.
    var frameLimit: UInt64? { ((try? store.read("xenpr/frames")) ?? nil).flatMap { UInt64($0) } }

    /// Tells the control domain and the console how far the minor is.
    func enter(_ state: State, _ detail: String = "") {
        Console.note(detail.isEmpty ? state.rawValue : "\(state.rawValue): \(detail)")
        // The detail comes first: who sees the state finds its reason already there.
        publish("detail", detail)
        publish("state", state.rawValue)
    }

    func fail(_ reason: String) { enter(.failed, reason) }

    /// Says which kernel was learned.
    func publish(kernel: String) { publish("kernel", kernel) }

    func publish(progress: String) { publish("progress", progress) }

    /// Writes a long text as `name/0`, `name/1`, … with `name` empty, for a node holds less than 4096 bytes.
    func publish(timeline: String) {
        let bytes = Array(timeline.utf8)
        guard bytes.count > 2048 else { return publish("timeline", timeline) }
        for (index, start) in stride(from: 0, to: bytes.count, by: 2048).enumerated() {
            publish("timeline/\(index)", String(decoding: bytes[start..<min(start + 2048, bytes.count)], as: UTF8.self))
        }
        publish("timeline", "")
    }

    /// Waits for the control domain's command and shows every second meanwhile that the minor is alive.
    func awaitCommand(after last: Command? = nil) throws -> Command {
        while true {
            if let text = try store.read("xenpr/command"), let command = Command(rawValue: text), command != last {
                return command
            }
            beats += 1
            try store.write("xenpr/heartbeat", "\(beats)")
            _ = try store.nextEvent(timeoutMilliseconds: 1000)
        }
    }

    /// Asks for disks of main, by the names that its kernel has for them, and waits until they are attached.
    /// - Returns: the name of each in main and in this domain.
    func attach(_ disks: [String], because reason: String) throws -> [(name: String, device: String)] {
        publish("disks", disks.joined(separator: " "))
        enter(.waiting, reason)
        guard try awaitCommand(after: .salvage) == .disks else { throw MinorFailure("the control domain attached no disks") }
        let text = try store.read("xenpr/attached") ?? ""
        return text.split(separator: " ").compactMap { pair in
            let names = pair.split(separator: "=").map(String.init)
            return names.count == 2 ? (names[0], names[1]) : nil
        }
    }

    /// The dead vCPUs' contexts as the control domain read them.
    func context() throws -> [UInt8] {
        guard let text = try store.read("xenpr/context/size"), let size = Int(text), (1...Self.contextLimit).contains(size)
        else {
            throw MinorFailure("cannot read the vCPU contexts: the control domain gave no sound size for them")
        }
        var blob: [UInt8] = []
        blob.reserveCapacity(size)
        var index = 0
        while blob.count < size {
            guard let chunk = try store.bytes("xenpr/context/\(index)"), !chunk.isEmpty else {
                throw MinorFailure(
                    "cannot read the vCPU contexts: part \(index) is missing (\(blob.count) of \(size) bytes came)")
            }
            blob += chunk
            index += 1
        }
        return Array(blob.prefix(size))
    }

    /// What cannot be told must not stop a salvage: the result is on the volume.
    private func publish(_ node: String, _ value: String) {
        do {
            try store.write("xenpr/\(node)", String(value.prefix(3000)))
        } catch {
            Console.note("\(error)")
        }
    }
}
