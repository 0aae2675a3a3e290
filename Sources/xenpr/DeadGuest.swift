import ArgumentParser
import DumpSource
import Foundation
import GuestMemory
import KernelObjects
import KernelProcesses
import KernelTypes
import XenControl
import XenSource

/// Where a dead kernel's memory is, as the user names it.
struct SourceArguments: ParsableArguments {
    @Argument(help: "A memory dump, or a domain of this Xen host as xen:NAME or xen:ID.")
    var source: String

    @Option(
        help: ArgumentHelp(
            "What QEMU's 'info registers -a' printed when the dump was made; DUMP.registers when not given.", valueName: "file")
    )
    var registers: String?

    @Option(help: ArgumentHelp("An HVM context that Xen gave for the domain; asked of Xen when not given.", valueName: "file"))
    var context: String?

    /// Whether the source is a domain of this host.
    var isDomain: Bool { source.hasPrefix("xen:") }

    /// Opens the source and understands its kernel.
    /// - Throws: `CommandFailure`, with the code for an unsupported kernel where that is the cause.
    func open() throws -> DeadKernel {
        let frames: any FrameSource
        let cpus: [VCPUContext]
        do {
            if isDomain {
                let domain = try Self.domain(String(source.dropFirst(4)))
                frames = try DomainMemory(domain: domain.rawValue)
                cpus = try HVMContext.parse(contextBytes() ?? Hypervisor().hvmContext(of: domain))
            } else {
                frames = try DumpFile(path: source)
                cpus = try contextBytes().map { try HVMContext.parse($0) } ?? dumpedRegisters()
            }
        } catch {
            throw CommandFailure("cannot open \(source): \(error)")
        }
        do {
            let manifest = try KernelManifest.learn(from: frames, symbols: DeadKernel.symbols)
            return DeadKernel(source: frames, manifest: manifest, layout: try KernelLayout(manifest.types), cpus: cpus)
        } catch {
            throw CommandFailure("cannot understand the kernel in \(source): \(error)", code: .kernelNotSupported)
        }
    }

    /// A domain by its number, or by its name in xenstore.
    private static func domain(_ name: String) throws -> DomainID {
        if let number = UInt32(name) { return DomainID(number) }
        let store = try XenStore()
        for entry in try store.list("/local/domain") ?? [] where try store.read("/local/domain/\(entry)/name") == name {
            if let number = UInt32(entry) { return DomainID(number) }
        }
        throw CommandFailure("no domain is called \(name); 'xl list' shows those that are")
    }

    private func contextBytes() throws -> [UInt8]? {
        try context.map { path in
            guard let data = FileManager.default.contents(atPath: path) else { throw CommandFailure("cannot read \(path)") }
            return Array(data)
        }
    }

    private func dumpedRegisters() throws -> [VCPUContext] {
        if let registers { return try QEMURegisters.read(path: registers) }
        let beside = source + ".registers"
        return FileManager.default.fileExists(atPath: beside) ? try QEMURegisters.read(path: beside) : []
    }
}
