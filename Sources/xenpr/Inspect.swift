import ArgumentParser
import GuestMemory
import KernelObjects
import KernelProcesses
import ProcessModel

/// Shows what a dead kernel's memory holds.
struct InspectCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "inspect", abstract: "Show what a memory dump or a dead domain holds.",
        discussion: """
            xenpr inspect SOURCE kernel      the kernel, its clocks, how it is laid out
            xenpr inspect SOURCE ps          all processes
            xenpr inspect SOURCE vm          the areas of memory of all processes
            xenpr inspect SOURCE vm PID      those of one, with the pages that a salvage would save
            xenpr inspect SOURCE files       the descriptors of all processes
            xenpr inspect SOURCE files PID   those of one, with what is known of each file
            xenpr inspect SOURCE regs PID    the registers of its threads
            """)

    enum Subject: String, ExpressibleByArgument, CaseIterable {
        case kernel, ps, vm, files, regs
    }

    @OptionGroup var source: SourceArguments
    @Argument(help: "What to show: kernel, ps, vm, files or regs.") var subject: Subject
    @Argument(help: "The process, for vm, files and regs; all for vm and files when not given.") var pid: Int32?
    @Flag(help: "Say on standard error how long it took to understand the kernel, and to list.") var timings = false
    @OptionGroup var output: OutputOptions

    func validate() throws {
        if subject == .regs, pid == nil { throw ValidationError("'regs' needs a process: xenpr inspect SOURCE regs PID") }
    }

    func run() async throws {
        let start = ContinuousClock.now
        let kernel = try source.open()
        if timings { note("learned the kernel in \(Self.seconds(since: start)) s") }
        switch subject {
        case .kernel: try show(KernelReport(kernel))
        case .ps: try show(ProcessListReport(kernel))
        case .vm where pid == nil:
            try show(AllAreasReport(listing(kernel, "areas") { $0.areas() }))
        case .files where pid == nil:
            try show(AllFilesReport(listing(kernel, "descriptors") { $0.descriptors() }))
        case .vm: try show(MemoryReport(try process(in: kernel)))
        case .files: try show(FilesReport(try process(in: kernel)))
        case .regs: try show(RegistersReport(try process(in: kernel)))
        }
        for gap in kernel.gaps { note("gap: \(gap.object), \(gap.field): \(gap.fault)") }
    }

    /// Lists something of all processes, without printing it.
    private func listing<Item>(
        _ kernel: DeadKernel, _ what: String, _ list: (inout ProcessListing) -> [ListedProcess<Item>]
    ) -> [ListedProcess<Item>] {
        let start = ContinuousClock.now
        var listing = ProcessListing(kernel)
        let processes = list(&listing)
        if timings {
            let count = processes.reduce(0) { $0 + $1.items.count }
            note("listed \(count) \(what) of \(processes.count) processes in \(Self.seconds(since: start)) s")
        }
        return processes
    }

    private static func seconds(since start: ContinuousClock.Instant) -> String {
        fixed((ContinuousClock.now - start) / .seconds(1), 6)
    }

    private func process(in kernel: DeadKernel) throws -> ReadProcess {
        guard let pid else { throw CommandFailure("no process given") }
        do {
            return try kernel.process(pid: pid)
        } catch {
            throw CommandFailure("cannot read process \(pid): \(error)")
        }
    }

    private func show(_ report: some InspectReport) throws {
        switch output.format {
        case .json: try printJSON(report)
        case .table: report.table.printOut()
        }
    }
}

/// What one subject of `inspect` shows, as a table and as JSON.
protocol InspectReport: Encodable {
    var table: Table { get }
}

/// PROT_* bits as /proc/PID/maps has them.
func protectionText(_ bits: UInt32) -> String {
    (bits & 1 != 0 ? "r" : "-") + (bits & 2 != 0 ? "w" : "-") + (bits & 4 != 0 ? "x" : "-")
}

/// An address as JSON has it.
func hex(_ value: UInt64) -> String { "0x" + String(value, radix: 16) }
