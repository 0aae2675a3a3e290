import Foundation

/// What `xenpr-lab bench` measured (schema xenpr.bench/1). Times are in seconds, each ratio is ours over the other's.
struct BenchReport: Encodable, Sendable {
    /// The same bytes moved by salvage and by a plain tool in the same run.
    struct Throughput: Encodable, Sendable {
        var bytes: Int
        var salvageSeconds: Double
        var other: String
        var otherSeconds: Double
        /// Salvage's throughput over the other's: 1 is as fast.
        var ratio: Double { otherSeconds / max(salvageSeconds, 1e-9) }

        private enum CodingKeys: String, CodingKey { case bytes, salvageSeconds, other, otherSeconds, ratio }

        func encode(to encoder: any Encoder) throws {
            var container = encoder.container(keyedBy: CodingKeys.self)
            try container.encode(bytes, forKey: .bytes)
            try container.encode(salvageSeconds, forKey: .salvageSeconds)
            try container.encode(other, forKey: .other)
            try container.encode(otherSeconds, forKey: .otherSeconds)
            try container.encode(ratio, forKey: .ratio)
        }
    }

    /// A large process that came out of a dump, every byte of its memory compared.
    struct Extraction: Encodable, Sendable {
        /// How its pages lie in the guest's memory: scattered or huge.
        var pages: String
        var processBytes: Int
        var bytes = 0
        /// The best of some runs: from a kernel that is understood until everything is durable.
        var seconds = Double.infinity
        /// The whole program, with its start and what it learns of the kernel, which dd does not need.
        var programSeconds = Double.infinity
        let other = "dd conv=fsync"
        var otherSeconds = Double.infinity
        /// The time over the other's: 1 is as fast.
        var ratio: Double { seconds / max(otherSeconds, 1e-9) }
        var programRatio: Double { programSeconds / max(otherSeconds, 1e-9) }

        init(pages: String, processBytes: Int) {
            self.pages = pages
            self.processBytes = processBytes
        }

        mutating func add(bytes: Int, seconds: Double, programSeconds: Double, otherSeconds: Double) {
            self.bytes = bytes
            self.seconds = min(self.seconds, seconds)
            self.programSeconds = min(self.programSeconds, programSeconds)
            self.otherSeconds = min(self.otherSeconds, otherSeconds)
        }

        private enum CodingKeys: String, CodingKey {
            case pages, processBytes, bytes, seconds, programSeconds, other, otherSeconds, ratio, programRatio
        }

        func encode(to encoder: any Encoder) throws {
            var container = encoder.container(keyedBy: CodingKeys.self)
            try container.encode(pages, forKey: .pages)
            try container.encode(processBytes, forKey: .processBytes)
            try container.encode(bytes, forKey: .bytes)
            try container.encode(seconds, forKey: .seconds)
            try container.encode(programSeconds, forKey: .programSeconds)
            try container.encode(other, forKey: .other)
            try container.encode(otherSeconds, forKey: .otherSeconds)
            try container.encode(ratio, forKey: .ratio)
            try container.encode(programRatio, forKey: .programRatio)
        }
    }

    /// The areas and descriptors of all processes in a dump.
    struct Listing: Encodable, Sendable {
        struct Other: Encodable, Sendable {
            var tool: String
            var startSeconds: Double
            var seconds: Double
        }

        var processes: Int
        var areas: Int
        var descriptors: Int
        /// Until the kernel was understood, and the end of the program.
        var startSeconds: Double
        /// Of both lists.
        var seconds: Double
        /// What counted the same.
        var other: Other?
        /// Why there is no other.
        var notCompared: String?
    }

    let schema = "xenpr.bench/1"
    /// Memory of each of the large processes in the dump that is salvaged offline.
    var offlineProcessBytes: Int
    /// Memory of the protected process on Xen.
    var processBytes: Int
    /// A dump of a QEMU guest salvaged on the host, beside cp.
    var offline: Throughput?
    /// Large processes out of the dump, beside dd.
    var extractions: [Extraction] = []
    /// Areas and descriptors of all processes of the dump, beside drgn.
    var listing: Listing?
    /// The minor's salvage of a Xen guest to the recovery volume, beside dd in the control domain.
    var volume: Throughput?
    /// The salvager's own memory, whatever the process has.
    var peakBytes: Int?
    /// From the crash until salvage began.
    var takeoverSeconds: Double?
    /// From the crash until the process ran again.
    var downtimeSeconds: Double?
    /// From the crash of the same guest until it takes commands again, with nothing recovered.
    var plainRebootSeconds: Double?
    /// Phases of the recovery.
    var phases: [Phase] = []

    private enum CodingKeys: String, CodingKey {
        case schema, offlineProcessBytes, processBytes, offline, extractions, listing, volume, peakBytes, takeoverSeconds,
            downtimeSeconds, plainRebootSeconds, phases
    }

    /// Each measurement beside what it should be.
    var text: String {
        func number(_ value: Double) -> String { String(format: "%.2f", value) }
        func mebibytes(_ bytes: Int) -> String { String(format: "%.1f MiB", Double(bytes) / 1_048_576) }
        func compared(_ what: String, _ throughput: Throughput) -> String {
            "\(what): \(mebibytes(throughput.bytes)) in \(number(throughput.salvageSeconds)) s, \(throughput.other) of as many "
                + "bytes in \(number(throughput.otherSeconds)) s: \(number(throughput.ratio)) of its throughput (aim: 0.8 or more)"
        }
        var lines = ["process: \(mebibytes(processBytes)) on Xen, \(mebibytes(offlineProcessBytes)) in the dump"]
        if let offline { lines.append(compared("offline salvage of a dump", offline)) }
        for item in extractions {
            lines.append(
                "a process with \(item.pages) pages out of the dump, every byte compared: \(mebibytes(item.bytes)) in "
                    + "\(number(item.seconds)) s, \(item.other) of as many bytes in \(number(item.otherSeconds)) s: "
                    + "\(number(item.ratio)) times that (aim: "
                    + "\(item.pages == BenchGroups.Kind.huge.rawValue ? "1.0" : "1.3") or less); "
                    + "with the program's start \(number(item.programSeconds)) s, \(number(item.programRatio)) times")
        }
        if let listing { lines.append(text(of: listing)) }
        if let volume { lines.append(compared("salvage to the recovery volume on Xen", volume)) }
        if let peakBytes { lines.append("peak memory of the salvager: \(mebibytes(peakBytes)) (aim: under 64 MiB)") }
        if let takeoverSeconds { lines.append("takeover: \(number(takeoverSeconds)) s") }
        if let downtimeSeconds { lines.append("downtime with recovery: \(number(downtimeSeconds)) s") }
        if let downtimeSeconds, let plainRebootSeconds {
            lines.append(
                "plain crash and reboot: \(number(plainRebootSeconds)) s; recovery takes "
                    + "\(number(downtimeSeconds / plainRebootSeconds)) times that (aim: 1.3 or less)")
        }
        return lines.joined(separator: "\n")
    }

    private func text(of listing: Listing) -> String {
        func number(_ value: Double) -> String { String(format: "%.3f", value) }
        let ours =
            "listing \(listing.areas) areas and \(listing.descriptors) descriptors of \(listing.processes) processes: "
            + "\(number(listing.seconds)) s after a start of \(number(listing.startSeconds)) s (aim: under 0.2 s)"
        guard let other = listing.other else {
            return ours + "; not compared: \(listing.notCompared ?? "there was no other tool")"
        }
        return ours
            + "; \(other.tool), which counts the same, \(number(other.seconds)) s after \(number(other.startSeconds)) s: "
            + "\(number(listing.seconds / max(other.seconds, 1e-9))) of its time (aim: 0.1 or less)"
    }
}
