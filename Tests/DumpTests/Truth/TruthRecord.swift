import Foundation

/// What `xenpr-lab run --truth` recorded beside the dump: what /proc said of each protected process just before the crash, and CRIU's own images of those that
/// held still.
struct TruthRecord {
    struct Group: Decodable {
        var pids: [Int32]
        /// Its processes were stopped from before the record until the crash.
        var still: Bool
        /// The exit status of `criu dump`; nil: it was not run.
        var criu: Int32?
    }

    private struct Summary: Decodable {
        var groups: [String: Group]
    }

    let directory: String
    let groups: [String: Group]

    /// - Throws: when there is no record, which XENPR_DUMP promises.
    init(besideDump path: String) throws {
        directory = path + ".truth"
        let data = try Data(contentsOf: URL(fileURLWithPath: directory + "/truth.json"))
        groups = try JSONDecoder().decode(Summary.self, from: data).groups
    }

    func process(_ pid: Int32) -> ProcRecord { ProcRecord(directory: "\(directory)/proc/\(pid)") }

    func images(of group: String) -> String { "\(directory)/criu/\(group)" }
}

/// The files of one directory of /proc.
struct ProcRecord {
    let directory: String

    func bytes(_ name: String) -> [UInt8]? {
        (try? Data(contentsOf: URL(fileURLWithPath: "\(directory)/\(name)"))).map { Array($0) }
    }

    func text(_ name: String) -> String? {
        bytes(name).map { String(decoding: $0, as: UTF8.self) }
    }

    func lines(_ name: String) -> [Substring]? {
        text(name).map { $0.split(separator: "\n") }
    }

    /// The one value of a file that holds nothing else.
    func value(_ name: String) -> String? {
        text(name).map { $0.trimmingCharacters(in: .whitespacesAndNewlines) }
    }

    /// A line `Name:  value` of a file such as status; white space as single spaces.
    func field(_ name: String, of file: String = "status") -> String? {
        guard let line = lines(file)?.first(where: { $0.hasPrefix(name + ":") }) else { return nil }
        return line.dropFirst(name.utf8.count + 1).split(whereSeparator: \.isWhitespace).joined(separator: " ")
    }

    /// A field of stat by its number in proc(5). The second may hold spaces and parentheses.
    func stat(_ number: Int) -> String? {
        guard let text = text("stat"), let end = text.lastIndex(of: ")") else { return nil }
        let rest = text[text.index(after: end)...].split(whereSeparator: \.isWhitespace)
        return rest.indices.contains(number - 3) ? String(rest[number - 3]) : nil
    }

    /// Where symbolic links lead to: `cwd`, `fd/3`, `ns/net`.
    var links: [String: String] {
        let parts = (bytes("links") ?? []).split(separator: 0, omittingEmptySubsequences: false)
            .map { String(decoding: $0, as: UTF8.self) }
        return Dictionary(
            stride(from: 0, to: parts.count - 1, by: 2).map { (parts[$0], parts[$0 + 1]) }, uniquingKeysWith: { $1 })
    }

    func names(in name: String) -> [String] {
        ((try? FileManager.default.contentsOfDirectory(atPath: "\(directory)/\(name)")) ?? []).sorted()
    }

    func thread(_ tid: Int32) -> ProcRecord { ProcRecord(directory: "\(directory)/task/\(tid)") }
}
