import ArgumentParser
import Foundation

struct Scale: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Measures how salvage grows with the processes, threads, descriptors, mappings and memory of a group.",
        discussion:
            "One guest with a group for each size is crashed in QEMU; then each group is salvaged alone out of the dump.")

    @Option(help: "A file that gets the measurements as JSON.")
    var report: String?
    @Option(help: "A file that gets the plots as SVG; needs gnuplot.")
    var plot: String?

    /// The processes of all groups together have some 6 GiB.
    private static let memoryMebibytes = 9216
    private static let repetitions = 3

    func run() async throws {
        if plot != nil { _ = try await Tool.require("gnuplot", ["--version"]) }
        let setting = try await LabSetting.enter(on: .qemu, packages: [], salvager: .minor)
        defer { setting.leave(keep: false) }
        let dump = try await setting.dump(
            ofGuestWith: ScaleCase.all.map { try $0.write(to: "\(setting.directory)/scale") },
            memoryMebibytes: Self.memoryMebibytes, in: setting.directory)
        var result = ScaleReport()
        for item in ScaleCase.all {
            result.points.append(try await salvage(item, out: dump, setting))
            if let report { try result.writeReport(to: report) }
        }
        print(result.text)
        if let plot {
            let script = "\(setting.directory)/scale.gnuplot"
            try result.plot(to: plot).write(toFile: script, atomically: true, encoding: .utf8)
            try await Tool.require("gnuplot", [script])
        }
    }

    private func salvage(_ item: ScaleCase, out dump: String, _ setting: LabSetting) async throws -> ScaleReport.Point {
        var point = ScaleReport.Point(thing: item.thing.rawValue, count: item.count, seconds: .infinity, peakBytes: 0, bytes: 0)
        for repetition in 1...Self.repetitions {
            let target = "\(setting.directory)/target-\(item.name)-\(repetition)"
            let measured = try await Measurement.run(
                setting.programs.xenpr,
                ["salvage", dump, "--registers", dump + ".registers", "--group", item.name, "--to", target])
            guard measured.status == 0 else { throw LabFailure("the group \(item.name) was refused") }
            point.seconds = min(point.seconds, measured.seconds)
            point.peakBytes = max(point.peakBytes, measured.peakBytes)
            point.bytes = Int(try await Tool.require("du", ["-sb", target]).prefix { $0.isNumber }) ?? 0
            // Emptied and not removed: ext4 looks long for the inode of a new file where many have just been given up.
            try await Tool.require(
                "find", [target, "-type", "f", "-size", "+0", "-exec", "truncate", "-s", "0", "{}", "+"],
                timeout: .seconds(120))
        }
        setting.progress("\(item.name): \(String(format: "%.3f", point.seconds)) s")
        return point
    }
}
