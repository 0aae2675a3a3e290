import DumpSource
import Foundation
import GuestMemory
import KernelObjects
import KernelTypes
import Testing

@testable import KernelProcesses

/// The dump that `make test` made of a guest with all cases in it, named by XENPR_DUMP.
enum DumpUnderTest {
    static let path = ProcessInfo.processInfo.environment["XENPR_DUMP"]

    /// What tests without a dump say.
    static let comment: Comment = "XENPR_DUMP names no dump; 'make test' makes one"

    /// The kernel in the dump, before or after `damage` was done to its memory.
    static func kernel(_ damage: (DeadKernel, DamagedMemory) throws -> Void = { _, _ in }) throws -> DeadKernel {
        let path = try #require(path)
        let memory = DamagedMemory(try DumpFile(path: path))
        let manifest = try KernelManifest.learn(from: memory, symbols: DeadKernel.symbols)
        let layout = try KernelLayout(manifest.types)
        let cpus = try QEMURegisters.read(path: path + ".registers")
        try damage(DeadKernel(source: memory, manifest: manifest, layout: layout, cpus: cpus), memory)
        // A kernel of its own, which has cached nothing from before the damage.
        return DeadKernel(source: memory, manifest: manifest, layout: layout, cpus: cpus)
    }
}

extension DeadKernel {
    /// The physical address of a kernel virtual one.
    func physical(_ address: VirtualAddress) throws -> PhysicalAddress { try reader.memory.translate(address) }

    /// The leader of the process that has its group's name.
    func leader(command: String) throws -> TaskAddress {
        try #require(
            threadGroups().first {
                (try? reader.text(layout.task.comm, of: $0)) == Array(command.utf8)
                    && (try? Self.groupName(ofCgroup: cgroupPath(of: $0))) == command
            })
    }
}
