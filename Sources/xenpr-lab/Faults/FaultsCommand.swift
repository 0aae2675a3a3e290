import ArgumentParser
import Foundation

struct Faults: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract:
            "Breaks parts of a recovery on a real Xen, one after the other, and looks that main and its other processes are safe.",
        discussion: "Known faults: " + Fault.allCases.map(\.rawValue).joined(separator: ", ") + ".")

    /// xl dump-core asks an emulated Xen for each page up to 4 GiB, five minutes long.
    static let usual = Fault.allCases.filter { $0 != .dumpedCore }

    @Option(help: "How Xen runs main; of a PV guest only dumped-core is tried.")
    var type = GuestType.pvh
    @Option(help: "A file that gets the results as JSON.")
    var report: String?
    @Flag(help: "Keep the disks of the run, beside the logs that are always kept.")
    var keep = false
    @Argument(help: "Only these faults; all but dumped-core when none is named.")
    var only: [Fault] = []

    func validate() throws {
        if type == .pv, only != [.dumpedCore] { throw ValidationError("--type pv needs dumped-core") }
    }

    func run() async throws {
        let setting = try await LabSetting.enter(
            on: .xen, packages: [], salvager: type == .pv ? .control : .minor, type: type)
        defer { setting.leave(keep: keep) }
        let session = FaultSession(try setting.xenMachine(in: setting.directory), progress: setting.progress)
        let results = await session.run(only.isEmpty ? Self.usual : only)
        if let report { try results.writeReport(to: report) }
        print(results.text(logs: setting.directory))
        if !results.havePassed { throw ExitCode(1) }
    }
}

extension [FaultResult] {
    var havePassed: Bool { allSatisfy(\.passed) }

    /// What is printed at the end.
    func text(logs: String) -> String {
        var lines = map { "\($0.passed ? "passed" : "failed")  \($0.fault.rawValue): \($0.message)" }
        if !havePassed { lines.append("serial logs of all domains: \(logs)") }
        let passed = count(where: \.passed)
        return (lines + ["\(passed) passed, \(count - passed) failed, 0 skipped"]).joined(separator: "\n")
    }
}

/// A way in which a recovery can go wrong.
enum Fault: String, CaseIterable, Codable, Sendable, ExpressibleByArgument {
    /// The minor is gone when main crashes, CRIU refuses one group, and a process was in the call that caused the panic.
    case deadMinor = "dead-minor"
    /// Main panics again right after a restore.
    case crashLoop = "crash-loop"
    /// The minor does not answer, and xenprd is killed in each state.
    case silentMinor = "silent-minor"
    /// Salvage takes longer than it may.
    case timeLimit = "time-limit"
    /// The recovery volume has not enough room for all groups.
    case fullVolume = "full-volume"
    /// Main's configuration would not keep the dead domain.
    case wrongSetting = "wrong-setting"
    /// Nobody watches when main crashes; an operator makes a core of it and salvages that.
    case dumpedCore = "dumped-core"
    /// Main's kernel has no types to read it by.
    case noTypes = "no-types"
    /// Main is a PV guest, which no minor may read.
    case pvGuest = "pv-guest"

    /// Whether it begins with a main that is armed; else it makes one of its own.
    var needsMain: Bool { self != .noTypes && self != .pvGuest }
}

struct FaultResult: Codable, Sendable {
    let fault: Fault
    var passed: Bool
    /// What was seen.
    var message: String
}
