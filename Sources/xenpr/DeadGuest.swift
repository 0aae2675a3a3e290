import ArgumentParser
import DumpSource
import Foundation
import GuestDisks
import GuestMemory
import KernelObjects
import KernelProcesses
import KernelTypes
import XenControl
import XenSource

/// A disk of the guest, as the user names it: `NAME=FILE`.
struct Disk: ExpressibleByArgument {
    var name: String
    var file: String

    init(name: String, file: String) {
        self.name = name
        self.file = file
    }

    init?(argument: String) {
        let parts = argument.split(separator: "=", maxSplits: 1)
        guard parts.count == 2 else { return nil }
        let name = parts[0].hasPrefix("/dev/") ? parts[0].dropFirst(5) : parts[0]
        self.init(name: String(name), file: String(parts[1]))
    }
}

/// Where a dead kernel's memory is, as the user names it.
struct SourceArguments: ParsableArguments {
    @Argument(help: "A memory dump, or a domain of this Xen host as xen:NAME or xen:ID.")
    var source: String

    @Option(
        help: ArgumentHelp(
            "What QEMU's 'info registers -a' printed when the dump was made; when not given DUMP.registers, else what the dump itself has, which is less.",
            valueName: "file")
    )
    var registers: String?

    @Option(help: ArgumentHelp("An HVM context that Xen gave for the domain; asked of Xen when not given.", valueName: "file"))
    var context: String?

    @Option(
        name: .customLong("disk"),
        help: ArgumentHelp(
            "A disk of the guest, for pages that were swapped out to it: the name that the guest gives it, and a raw image or device, as vda=FILE. Those of a domain are known.",
            valueName: "name=file"))
    var disks: [Disk] = []

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
                frames = try DomainMemory.open(domain.rawValue)
                cpus = try HVMContext.parse(contextBytes() ?? Hypervisor().vcpuContexts(of: domain))
            } else {
                let dump = try DumpFile(path: source)
                frames = dump
                cpus = try contextBytes().map { try HVMContext.parse($0) } ?? registersBeside() ?? dump.cpus
            }
        } catch {
            throw CommandFailure("cannot open \(source): \(error)")
        }
        do {
            let manifest = try KernelManifest.learn(from: frames, symbols: DeadKernel.symbols)
            let kernel = DeadKernel(source: frames, manifest: manifest, layout: try KernelLayout(manifest.types), cpus: cpus)
            if let omission = kernel.omission { note("note: \(omission)") }
            // Who swaps nothing needs no disks, and they may be away.
            if kernel.usesSwap { kernel.disks = try openDisks() }
            return kernel
        } catch let failure as CommandFailure {
            throw failure
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

    private func openDisks() throws -> [String: any DiskSource] {
        var result: [String: any DiskSource] = [:]
        for disk in isDomain ? try XenStore().disks(of: Self.domain(String(source.dropFirst(4)))) : [] {
            // A drive without a medium, or one that another domain serves, is none that pages would be read from.
            do { result[disk.name] = try DiskFile(path: disk.target) } catch { note("disk \(disk.name): \(error)") }
        }
        for disk in disks {
            do { result[disk.name] = try DiskFile(path: disk.file) } catch { throw CommandFailure("\(error)") }
        }
        return result
    }

    private func contextBytes() throws -> [UInt8]? {
        try context.map { path in
            guard let data = FileManager.default.contents(atPath: path) else { throw CommandFailure("cannot read \(path)") }
            return Array(data)
        }
    }

    private func registersBeside() throws -> [VCPUContext]? {
        if let registers { return try QEMURegisters.read(path: registers) }
        let beside = source + ".registers"
        return FileManager.default.fileExists(atPath: beside) ? try QEMURegisters.read(path: beside) : nil
    }
}
