import ArgumentParser
import Foundation

struct Zdtm: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Runs the test programs of CRIU (test/zdtm/static of its repository, built) through a crash and a recovery.",
        discussion: """
            Those that run in the host's own namespaces and are expected to pass (--flavor h), or those that only run in namespaces of their own (--flavor ns).
            """)

    @Option(help: "Where main runs: as a domain of a real Xen, or in QEMU alone.")
    var on = MachineKind.qemu
    @Option(help: "In whose namespaces they run: the host's (h) or their own (ns).")
    var flavor = ZdtmFlavor.h
    @Option(help: "How many programs share one crash: 60, or 30 in namespaces of their own.")
    var atOnce: Int?
    @Option(help: "A file that gets the results as JSON.")
    var report: String?
    @Flag(help: "Keep the disks and memory dumps, beside the logs that are always kept.")
    var keep = false
    @Argument(help: "The directory of the built programs.")
    var directory: String
    @Argument(help: "Only these programs; all when none is named.")
    var only: [String] = []

    /// Some of the programs map more than half a gigabyte and touch all of it; the page cache of the others must not have to give way.
    private static let memoryMebibytes = 2048

    func validate() throws {
        guard (1...500).contains(atOnce ?? 1) else { throw ValidationError("--at-once must be from 1 to 500") }
    }

    func run() async throws {
        let directory = URL(fileURLWithPath: directory).standardizedFileURL.path
        let known = try await ZdtmProgram.all(in: directory)
        if let unknown = only.first(where: { name in !known.contains { $0.name == name } }) {
            throw ValidationError("\(directory) has no program \(unknown), or its makefile does not start it")
        }
        let programs = known.filter { only.isEmpty ? $0.runs(in: flavor) : only.contains($0.name) }
        let setting = try await LabSetting.enter(
            on: on, packages: try await libraries(of: programs, in: directory), salvager: .minor)
        defer { setting.leave(keep: keep) }
        var results = ZdtmReport(on: on.rawValue, flavor: flavor.rawValue)
        let batches = Self.batches(of: programs, size: atOnce ?? (flavor == .ns ? 30 : 60))
        for (number, batch) in batches.enumerated() {
            setting.progress("crash \(number + 1) of \(batches.count), of \(batch.count) programs")
            let part = try setting.part("\(number + 1)")
            results.add(try await crash(batch, from: directory, setting, in: part))
            // What is done so far is worth something, but it is no report.
            if let report { try results.writeReport(to: report + ".partial") }
        }
        if let report {
            try results.writeReport(to: report)
            try? FileManager.default.removeItem(atPath: report + ".partial")
        }
        print(results.text)
        if results.failed > 0 { throw ExitCode(1) }
    }

    /// Programs that share a crash. What hooks make in the guest has the same names in each, and so has what programs of one source make: these are kept apart as far as
    /// there are crashes.
    static func batches(of programs: [ZdtmProgram], size: Int) -> [[ZdtmProgram]] {
        let hooked = programs.filter(\.hasHook)
        var next = programs.filter { !$0.hasHook }[...]
        let count = max((programs.count + size - 1) / size, programs.isEmpty ? 0 : hooked.count)
        var batches = [[ZdtmProgram]](repeating: [], count: count)
        for (index, program) in hooked.enumerated() { batches[index].append(program) }
        for index in batches.indices {
            let left = batches.count - index
            let share = max(0, min(size - batches[index].count, (next.count + left - 1) / left))
            batches[index] += next.prefix(share)
            next = next.dropFirst(share)
        }
        for index in batches.indices {
            for place in batches[index].indices where isSecond(place, in: batches[index]) {
                let source = batches[index][place].source
                guard let other = batches.firstIndex(where: { batch in !batch.contains { $0.source == source } }),
                    let free = batches[other].lastIndex(where: { !$0.hasHook })
                else { continue }
                (batches[index][place], batches[other][free]) = (batches[other][free], batches[index][place])
            }
        }
        return batches
    }

    /// Whether an earlier program of the batch has the same source.
    private static func isSecond(_ place: Int, in batch: [ZdtmProgram]) -> Bool {
        batch[..<place].contains { $0.source == batch[place].source }
    }

    /// One boot, one crash and one recovery of these programs.
    private func crash(_ programs: [ZdtmProgram], from source: String, _ setting: LabSetting, in part: String) async throws
        -> LabReport
    {
        var runners: [CaseRunner] = []
        for program in programs {
            let definition = try await ZdtmCase.write(program, from: source, to: "\(part)/programs", flavor: flavor)
            runners.append(CaseRunner(definition, directory: part))
        }
        let machine: any LabMachine =
            on == .xen ? try setting.xenMachine(in: part) : setting.qemuMachine(in: part, memoryMebibytes: Self.memoryMebibytes)
        let run = LabRun(
            machine: machine, runners: runners, trigger: .sysrq, salvager: .minor,
            report: LabReport(on: on.rawValue, salvage: "minor", logs: part), progress: setting.progress)
        return await run.run()
    }

    /// The Debian packages of the shared libraries that the programs are linked to: main has the same Debian as this host.
    private func libraries(of programs: [ZdtmProgram], in directory: String) async throws -> Set<String> {
        let list = try await Tool.require("ldd", programs.map { "\(directory)/\($0.name)" })
        // "libcap.so.2 => /lib/…": dpkg knows files by the place that their package has put them, which may be /lib or /usr/lib.
        let names = Set(
            list.split(whereSeparator: \.isNewline).compactMap { line -> String? in
                let words = line.split(whereSeparator: \.isWhitespace)
                return words.count > 2 && words[1] == "=>" ? String(words[0]) : nil
            })
        let owners = try await Tool.require("dpkg-query", ["-S"] + names.sorted().map { "*/\($0)" })
        // What programs of the ns flavor call to set their networks up.
        let tools: Set<String> = flavor == .ns ? ["iproute2", "iptables", "nftables"] : []
        return tools.union(
            owners.split(whereSeparator: \.isNewline).compactMap { $0.split(separator: ":").first.map(String.init) })
    }
}
