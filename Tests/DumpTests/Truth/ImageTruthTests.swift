import Checkpoint
import Foundation
import ImageDiff
import Testing

@testable import KernelProcesses

/// Our images of groups that held still against those that CRIU made of them while they lived.
@Suite(.enabled(if: DumpUnderTest.path != nil, DumpUnderTest.comment), .serialized)
struct ImageTruthTests {
    /// Groups that a live dump refuses, so that CRIU tells nothing of them, and its words.
    private static let refusals = [
        // One of its processes has /dev/tty open while another process group than its session's is in the foreground.
        "terminal": "ctty inheritance detected"
    ]

    @Test func imagesEqualThoseOfCRIU() throws {
        let truth = try TruthRecord(besideDump: try #require(DumpUnderTest.path))
        let volume = FileManager.default.temporaryDirectory.appendingPathComponent("xenpr-truth-\(UUID().uuidString)").path
        try FileManager.default.createDirectory(atPath: volume, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(atPath: volume) }
        var compared = 0
        for read in try DumpUnderTest.kernel().groups() {
            guard let group = truth.groups[read.group.name], group.still else { continue }
            if let reason = Self.refusals[read.group.name], group.criu != 0 {
                let log = try String(contentsOfFile: "\(truth.images(of: read.group.name))/dump.log", encoding: .utf8)
                #expect(log.contains(reason), "criu dump of \(read.group.name) failed for another reason")
                continue
            }
            #expect(
                group.criu == 0,
                "criu dump of \(read.group.name) failed; its log is \(truth.images(of: read.group.name))/dump.log")
            guard group.criu == 0 else { continue }
            var pages = read.pages
            let saved = GroupCheckpoint.save(read.group, pages: &pages, toVolume: volume)
            let images = try #require(saved.images, "\(read.group.name): \(saved.reasons)")
            let differences: [ImageDifference]
            // One group's damaged images do not keep the others from being compared.
            do { differences = try ImageComparison.compare("\(volume)/\(images)", truth.images(of: read.group.name)) } catch {
                Issue.record("\(read.group.name): \(error)")
                continue
            }
            for difference in differences where difference.reason == nil && !isNewer(difference, truth) {
                Issue.record(
                    "\(read.group.name), \(difference.object), \(difference.field): ours \(difference.a ?? "-"), CRIU's \(difference.b ?? "-")"
                )
            }
            compared += 1
        }
        #expect(compared > 0)
    }

    /// Whether a page changed after CRIU had read it, by what CRIU itself does to a process when it lets it go: then the record of the living process, which is
    /// younger, says what we say.
    private func isNewer(_ difference: ImageDifference, _ truth: TruthRecord) -> Bool {
        guard difference.object.kind == .page, let ours = difference.a?.split(separator: " ").dropFirst().first else {
            return false
        }
        let page = String(difference.object.number, radix: 16)
        return truth.process(Int32(clamping: difference.object.process)).lines("pages")?.contains { line in
            let parts = line.split(separator: " ")
            return parts.count > 1 && parts[0] == page && UInt32(parts[1], radix: 16) == UInt32(ours, radix: 16)
        } ?? false
    }
}
