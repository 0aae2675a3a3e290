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

    /// A node's text; when it says "chunks N", the joined texts of its children 0 to N - 1; when it is empty, those of all
    /// its children.
    /// - Returns: nil when the node is not there, or a chunk of it is not.
    /// - Parameter chunkLimit: more are not read; whoever writes them may be hostile.
    func readChunked(_ path: String, chunkLimit: Int) throws(XenError) -> String? {
        guard let text = try store.read(path) else { return nil }
        let words = text.split(separator: " ")
        let count: Int
        if text.isEmpty {
            count = min(try store.list(path)?.count ?? 0, chunkLimit)
        } else if words.count == 2, words[0] == "chunks" {
            guard let said = Int(words[1]), (0...chunkLimit).contains(said) else { return nil }
            count = said
        } else {
            return text
        }
        var bytes: [UInt8] = []
        for index in 0..<count {
            guard let chunk = try store.bytes("\(path)/\(index)") else { return nil }
            bytes += chunk
        }
        return String(decoding: bytes, as: UTF8.self)
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
        // Only the control domain may ask Xen how far main's memory goes.
        try store.write("\(minor.storePath)/xenpr/frames", "\(hypervisor.highestFrame(of: main) + 1)")
        try hypervisor.setTarget(of: minor, to: main)
        try hypervisor.unpause(minor)
    }

    func context(of main: DomainID) throws(XenError) -> [UInt8] { try hypervisor.vcpuContexts(of: main) }

    func disks(of domain: DomainID) throws(XenError) -> [DomainDisk] { try store.disks(of: domain) }

    /// Tells the minor which of its disks are main's (`xvda=xvdc …`), then to go on.
    func continueSalvage(minor: DomainID, disks: [String]) throws(XenError) {
        try store.write("\(minor.storePath)/xenpr/attached", disks.joined(separator: " "))
        try store.write("\(minor.storePath)/xenpr/command", "disks")
    }

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
