import Recovery
import XenControl

/// The daemon's one connection to Xen and xenstore; an actor, for libxenctrl's and libxenstore's handles are not to be
/// shared between threads.
actor XenConnection {
    private let hypervisor: Hypervisor
    private let store: XenStore

    init() throws(XenError) {
        hypervisor = try Hypervisor()
        store = try XenStore()
    }

    /// What Xen and the toolstack say of a domain; nil when there is none, or it is only waiting for its memory to be freed.
    func facts(_ id: DomainID) throws(XenError) -> DomainFacts? {
        guard let info = try hypervisor.domain(id) else { return nil }
        return try facts(info)
    }

    func facts(named name: String) throws(XenError) -> DomainFacts? {
        for info in try hypervisor.domains() where !info.isDying {
            if let facts = try facts(info), facts.name == name { return facts }
        }
        return nil
    }

    private func facts(_ info: DomainInfo) throws(XenError) -> DomainFacts? {
        let name = try store.read("\(info.id.storePath)/name")
        // A dying domain without a name is what is left when somebody (a minor) still maps its memory.
        if info.isDying, name == nil { return nil }
        return DomainFacts(
            identity: DomainIdentity(id: info.id.rawValue, uuid: Self.uuidText(info.uuid)), name: name,
            condition: Self.condition(info))
    }

    private static func condition(_ info: DomainInfo) -> DomainCondition {
        if info.isDying { return .dying }
        if info.isCrashed { return .crashed }
        if info.shutdown != nil { return .shutDown }
        return info.isPaused ? .paused : .running
    }

    private static func uuidText(_ bytes: [UInt8]) -> String {
        var text = ""
        for (index, byte) in bytes.enumerated() {
            if index == 4 || index == 6 || index == 8 || index == 10 { text += "-" }
            let digits = String(byte, radix: 16)
            text += byte < 16 ? "0" + digits : digits
        }
        return text
    }

    // MARK: xenstore

    func read(_ path: String) throws(XenError) -> String? { try store.read(path) }
    func list(_ path: String) throws(XenError) -> [String]? { try store.list(path) }
    func write(_ path: String, _ value: String) throws(XenError) { try store.write(path, value) }

    /// A node's text, or the joined texts of its children 0, 1, … when it was too long for one node.
    /// - Parameter limit: bytes after which the rest is not read; whoever writes it may be hostile.
    func readChunked(_ path: String, limit: Int) throws(XenError) -> String? {
        guard var text = try store.read(path) else { return nil }
        guard text.isEmpty else { return text }
        var index = 0
        while text.utf8.count < limit, let chunk = try store.read("\(path)/\(index)"), !chunk.isEmpty {
            text += chunk
            index += 1
        }
        return text
    }

    // MARK: The minor

    /// Makes a paused domain the minor of main, as the minor protocol wants it before its kernel starts.
    func introduce(minor: DomainID, main: DomainID, guest: String) throws(XenError) {
        // Linux's privcmd driver lets an unprivileged domain map foreign frames only when this node is there at its start.
        try store.write("\(minor.storePath)/target", "\(main)")
        try store.write("\(minor.storePath)/xenpr", "")
        try store.share("\(minor.storePath)/xenpr", owner: .control, with: minor)
        try store.write("\(minor.storePath)/xenpr/main", "\(main)")
        try store.write("\(minor.storePath)/xenpr/name", guest)
        try hypervisor.setTarget(of: minor, to: main)
        try hypervisor.unpause(minor)
    }

    func context(of main: DomainID) throws(XenError) -> [UInt8] { try hypervisor.hvmContext(of: main) }

    /// Gives the minor the dead vCPUs' contexts, then the command.
    func commandSalvage(minor: DomainID, context: [UInt8], recovery: String) throws(XenError) {
        let directory = "\(minor.storePath)/xenpr"
        try store.write("\(directory)/id", recovery)
        try store.write("\(directory)/context/size", "\(context.count)")
        var index = 0
        var rest = context[...]
        while !rest.isEmpty {
            // xenstore takes less than 4096 bytes in one request, path included.
            try store.write("\(directory)/context/\(index)", Array(rest.prefix(2048)))
            rest = rest.dropFirst(2048)
            index += 1
        }
        try store.write("\(directory)/command", "salvage")
    }
}
