import KernelProcesses
import ProcessModel

/// Groups have pages on disks of the guest that this salvager was not given.
public struct SwappedOut: Error, Sendable, CustomStringConvertible {
    /// As the dead kernel calls them, in order.
    public var disks: [String]

    public var description: String { "processes have pages swapped out to \(disks.joined(separator: ", "))" }

    /// Looks through all pages of the groups; nil when none is on such a disk.
    init?(_ groups: [ReadGroup], of kernel: DeadKernel) {
        guard kernel.usesSwap else { return nil }
        for read in groups {
            var pages = read.pages
            let objects =
                read.group.addressSpaces.keys.map { MemoryObject.addressSpace($0) }
                + read.group.sharedMemory.keys.map { MemoryObject.sharedMemory($0) }
            // What stops the walk, stops it again when the group is saved, and is said then.
            for object in objects { try? pages.forEachBatch(of: object) { _ in true } }
        }
        // Files on tmpfs can be swapped out as well.
        _ = kernel.fileCatchUp(for: groups.map(\.group))
        let disks = kernel.missingDisks.sorted()
        guard !disks.isEmpty else { return nil }
        self.disks = disks
    }
}
