import Foundation

/// What is measured of one dump: all of its groups beside cp, a large process beside dd, and the listing of everything beside drgn.
///
/// In turn, and the best of some rounds of each, so that what else the host does counts for neither.
struct DumpBench: Sendable {
    let setting: LabSetting
    let groups: BenchGroups
    let dump: String
    let directory: String

    private static let rounds = 5
    private var target: String { "\(directory)/bench-target" }
    private var source: String { "\(directory)/bench-source" }

    /// Everything in the dump, beside a copy of as many bytes with cp.
    func salvage(into bench: inout BenchReport) async throws {
        setting.progress("salvaging the dump, beside cp")
        var salvageSeconds = Double.infinity
        var copySeconds = Double.infinity
        for _ in 0..<Self.rounds {
            let salvage = try await salvage(group: nil)
            salvageSeconds = min(salvageSeconds, salvage.seconds)
            bench.peakBytes = max(bench.peakBytes ?? 0, salvage.peakBytes)
            let bytes = try await bytesWritten()
            try await discardTarget()
            try await shell("head -c \(bytes) \(quoted(dump)) > \(quoted(source))")
            // Salvage makes durable what it writes.
            let copy = try await Measurement.run(
                "/bin/sh", ["-c", "cp \(quoted(source)) \(quoted(source)).copy && sync \(quoted(source)).copy"])
            copySeconds = min(copySeconds, copy.seconds)
            try await shell("rm -f \(quoted(source)) \(quoted(source)).copy")
            bench.offline = BenchReport.Throughput(
                bytes: bytes, salvageSeconds: salvageSeconds, other: "cp and sync", otherSeconds: copySeconds)
        }
    }

    /// One large process, beside dd of as many bytes out of the same dump. Every byte of its memory is compared each time.
    func extract(_ kind: BenchGroups.Kind) async throws -> BenchReport.Extraction {
        let name = groups.name(kind)
        setting.progress("salvaging \(name), beside dd")
        var result = BenchReport.Extraction(pages: kind.rawValue, processBytes: groups.contents.bytes)
        for _ in 0..<Self.rounds {
            let salvage = try await salvage(group: name)
            guard salvage.status == 0 else { throw LabFailure("the group \(name) was refused") }
            let bytes = try await bytesWritten()
            try groups.contents.compare(withImagesIn: "\(target)/groups/\(name)/images")
            let seconds = try salvageSeconds()
            try await discardTarget()
            // fsync, for salvage makes durable what it writes.
            let other = try await Measurement.run(
                "dd",
                [
                    "if=\(dump)", "of=\(source)", "bs=1M", "count=\(bytes)", "iflag=fullblock,count_bytes", "conv=fsync",
                    "status=none",
                ])
            try FileManager.default.removeItem(atPath: source)
            result.add(
                bytes: bytes, seconds: seconds, programSeconds: salvage.seconds, otherSeconds: other.seconds)
        }
        return result
    }

    /// All areas and all descriptors of all processes, beside drgn.
    func list(beside drgn: Result<Drgn, LabFailure>) async throws -> BenchReport.Listing {
        setting.progress("listing areas and descriptors of all processes, beside drgn")
        var areas = ListingTime()
        var files = ListingTime()
        var other: ListingTime?
        for _ in 0..<Self.rounds {
            areas.keepBest(try await list("vm"))
            files.keepBest(try await list("files"))
            guard case .success(let drgn) = drgn else { continue }
            var time = other ?? ListingTime()
            time.keepBest(try await drgn.list(dump, scriptIn: directory))
            other = time
        }
        var listing = BenchReport.Listing(
            processes: areas.processes, areas: areas.areas, descriptors: files.descriptors,
            startSeconds: min(areas.startSeconds, files.startSeconds), seconds: areas.seconds + files.seconds)
        if let other {
            guard other.processes == areas.processes, other.areas == areas.areas, other.descriptors == files.descriptors else {
                throw LabFailure(
                    "xenpr lists \(areas.areas) areas and \(files.descriptors) descriptors of \(areas.processes) processes, drgn "
                        + "\(other.areas) and \(other.descriptors) of \(other.processes)")
            }
            listing.other = .init(
                tool: "drgn \(Drgn.version)", startSeconds: other.startSeconds, seconds: other.seconds)
        } else if case .failure(let failure) = drgn {
            listing.notCompared = failure.description
        }
        return listing
    }

    /// One listing of xenpr; what is not listing is start.
    private func list(_ subject: String) async throws -> ListingTime {
        let began = ContinuousClock.now
        let result = try await Tool.run(
            setting.programs.xenpr, ["inspect", dump, subject, "--registers", dump + ".registers", "--timings"],
            timeout: .seconds(120))
        let whole = (ContinuousClock.now - began).seconds
        guard result.succeeded else { throw LabFailure("cannot list: \(result.lastLine ?? "exit status \(result.status)")") }
        guard let line = result.errors.split(whereSeparator: \.isNewline).first(where: { $0.hasPrefix("listed ") }),
            let time = ListingTime(line: line, wholeSeconds: whole)
        else { throw LabFailure("xenpr inspect \(subject) does not say how long it took: \(result.errors.suffix(200))") }
        return time
    }

    private func salvage(group: String?) async throws -> Measurement {
        try await Measurement.run(
            setting.programs.xenpr,
            ["salvage", dump, "--registers", dump + ".registers"] + (group.map { ["--group", $0] } ?? []) + ["--to", target])
    }

    /// Emptied and put aside, not removed: ext4 looks long for the inode of a new file where many have just been given up, and only a salvage makes many.
    private func discardTarget() async throws {
        try await shell("find \(quoted(target)) -type f -size +0 -exec truncate -s 0 {} +")
        try FileManager.default.moveItem(atPath: target, toPath: "\(target)-\(UUID().uuidString)")
    }

    private func bytesWritten() async throws -> Int {
        Int(try await Tool.require("du", ["-sb", target]).prefix { $0.isNumber }) ?? 0
    }

    /// How long a salvage took from a kernel that was understood until the last group was durable, as its manifest has it.
    private func salvageSeconds() throws -> Double {
        struct Manifest: Decodable {
            struct Phase: Decodable {
                var seconds: Double
            }
            var timeline: [Phase]
        }
        let manifest = try JSONDecoder().decode(
            Manifest.self, from: Data(contentsOf: URL(fileURLWithPath: "\(target)/recovery.json")))
        return manifest.timeline.reduce(0) { $0 + $1.seconds }
    }

    private func shell(_ command: String) async throws {
        try await Tool.require("/bin/sh", ["-c", command], timeout: .seconds(300))
    }
}

/// One listing of a dump's processes: `listed 6000 areas of 230 processes in 0.0123 s`, or of descriptors, or of both.
struct ListingTime: Sendable {
    var processes = 0
    var areas = 0
    var descriptors = 0
    /// Until the first process could be looked at, and the end of the program.
    var startSeconds = Double.infinity
    var seconds = Double.infinity

    init() {}

    /// - Parameter line: what the program said of itself.
    init?(line: some StringProtocol, wholeSeconds: Double) {
        let words = line.split(separator: " ")
        for (word, before) in zip(words.dropFirst(), words) {
            switch word {
            case "areas": areas = Int(before) ?? 0
            case "descriptors": descriptors = Int(before) ?? 0
            case "processes": processes = Int(before) ?? 0
            case "s": seconds = Double(before) ?? .infinity
            default: break
            }
        }
        guard seconds.isFinite, processes > 0, areas + descriptors > 0 else { return nil }
        startSeconds = wholeSeconds - seconds
    }

    mutating func keepBest(_ other: ListingTime) {
        processes = other.processes
        areas = other.areas
        descriptors = other.descriptors
        startSeconds = min(startSeconds, other.startSeconds)
        seconds = min(seconds, other.seconds)
    }
}
