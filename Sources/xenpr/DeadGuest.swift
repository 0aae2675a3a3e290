import ArgumentParser
import DumpSource
import GuestMemory
import KernelObjects
import KernelProcesses
import KernelTypes

/// Where a dead kernel's memory is, as the user names it.
struct SourceArguments: ParsableArguments {
    @Argument(help: "A memory dump, or a domain of this Xen host as xen:NAME or xen:ID.")
    var source: String

    @Option(help: "The vCPUs' registers at the crash: what QEMU's 'info registers -a' printed, or an HVM context saved by Xen.")
    var registers: String?

    /// Opens the source and understands its kernel.
    /// - Throws: `CommandFailure`, with the code for an unsupported kernel where that is the cause.
    func open() throws -> DeadKernel {
        let frames: any FrameSource
        do { frames = try openFrames() } catch { throw CommandFailure("\(error)") }
        let cpus = try openRegisters()
        do {
            let manifest = try KernelManifest.learn(from: frames, symbols: DeadKernel.symbols)
            let layout = try KernelLayout(manifest.types)
            return DeadKernel(source: frames, manifest: manifest, layout: layout, cpus: cpus)
        } catch {
            throw CommandFailure("cannot understand the kernel in \(source): \(error)", code: .kernelNotSupported)
        }
    }

    private func openFrames() throws -> any FrameSource {
        try DumpFile(path: source)
    }

    /// A dump's registers lie beside it as `DUMP.registers` unless told otherwise.
    private func openRegisters() throws -> [VCPUContext] {
        if let registers {
            do { return try QEMURegisters.read(path: registers) } catch { throw CommandFailure("\(error)") }
        }
        return (try? QEMURegisters.read(path: source + ".registers")) ?? []
    }
}
