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

    let schema = "xenpr.bench/1"
    /// Memory of the protected process whose dump is salvaged offline.
    var offlineProcessBytes: Int
    /// Memory of the protected process on Xen.
    var processBytes: Int
    /// A dump of a QEMU guest salvaged on the host, beside cp.
    var offline: Throughput?
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
        case schema, offlineProcessBytes, processBytes, offline, volume, peakBytes, takeoverSeconds, downtimeSeconds,
            plainRebootSeconds, phases
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
}
