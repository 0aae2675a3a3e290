import DaemonAPI
import Foundation
import Glibc
import Recovery

/// The checkpoint's manifest (`recovery.json`) as the daemon reads it back from the volume: verdicts for people, nothing
/// that decides over a guest, because main could have written it.
enum Manifest {
    /// Longer ones are not read.
    private static let limit = 64 << 20

    private struct File: Decodable {
        struct Group: Decodable {
            var name: String
            var verdict: String?
            var reasons: [String]?
            var processes: [ProcessVerdict]?
            var bytes: UInt64?
            var pages: UInt64?
        }
        var id: String?
        var kernel: String?
        var cause: String?
        var timeline: [Phase]?
        var groups: [Group]?
    }

    /// The first of the names that can be read; the agent renames a manifest that it has restored from.
    static func read(in directory: String, names: [String] = ["recovery.done.json", "recovery.json"]) -> VolumeFindings {
        var findings = VolumeFindings()
        for name in names {
            guard let data = contents("\(directory)/\(name)"), let file = try? WireCoding.decode(File.self, from: data) else {
                continue
            }
            findings.id = file.id
            findings.kernel = file.kernel?.asForeignText
            findings.cause = file.cause?.asForeignText
            findings.timeline = file.timeline ?? []
            findings.groups = (file.groups ?? []).map { group in
                var result = GroupResult(
                    name: group.name.asForeignText, verdict: group.verdict?.asForeignText,
                    reasons: (group.reasons ?? []).map(\.asForeignText))
                result.bytes = group.bytes
                result.pages = group.pages
                result.processes = (group.processes ?? []).map { process in
                    var process = process
                    process.command = process.command.asForeignText
                    process.verdict = process.verdict.asForeignText
                    process.reasons = process.reasons?.map(\.asForeignText)
                    return process
                }
                return result
            }
            break
        }
        return findings
    }

    /// A regular file's bytes; nil for anything else: a FIFO in its place would hold the daemon for ever.
    private static func contents(_ path: String) -> Data? {
        // The path is a string of ours; the calls keep no pointer.
        let descriptor = unsafe open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC)
        guard descriptor >= 0 else { return nil }
        let handle = FileHandle(fileDescriptor: descriptor, closeOnDealloc: true)
        var status = stat()
        guard unsafe fstat(descriptor, &status) == 0, status.st_mode & S_IFMT == S_IFREG, status.st_size <= limit else {
            return nil
        }
        return try? handle.read(upToCount: limit)
    }
}
