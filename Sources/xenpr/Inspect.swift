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
            xenpr inspect SOURCE vm PID      the areas of a process's memory
            xenpr inspect SOURCE files PID   its open files
            xenpr inspect SOURCE regs PID    the registers of its threads
            """)

    enum Subject: String, ExpressibleByArgument, CaseIterable {
        case kernel, ps, vm, files, regs
    }

    @OptionGroup var source: SourceArguments
    @Argument(help: "What to show: kernel, ps, vm, files or regs.") var subject: Subject
    @Argument(help: "The process, for vm, files and regs.") var pid: Int32?
    @OptionGroup var output: OutputOptions

    func validate() throws {
        if [.vm, .files, .regs].contains(subject), pid == nil {
            throw ValidationError("'\(subject.rawValue)' needs a process: xenpr inspect SOURCE \(subject.rawValue) PID")
        }
    }

    func run() async throws {
        let kernel = try source.open()
        switch subject {
        case .kernel: try show(KernelReport(kernel))
        case .ps: try show(ProcessListReport(kernel))
        case .vm: try show(MemoryReport(try process(in: kernel)))
        case .files: try show(FilesReport(try process(in: kernel)))
        case .regs: try show(RegistersReport(try process(in: kernel)))
        }
        for gap in kernel.gaps { note("gap: \(gap.object), \(gap.field): \(gap.fault)") }
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

/// An address as JSON has it.
func hex(_ value: UInt64) -> String { "0x" + String(value, radix: 16) }
