import GuestMemory
import ProcessModel
import Testing

@testable import KernelProcesses

/// Open files and the file catch-up, read from a dump as it is and after damage.
@Suite(.enabled(if: DumpUnderTest.path != nil, DumpUnderTest.comment), .serialized)
struct FileDumpTests {
    /// The open files of all groups: `struct file *` by what they are.
    private func files(in kernel: DeadKernel) throws -> [VirtualAddress] {
        var found: [VirtualAddress] = []
        let table = kernel.layout.files.table
        for task in kernel.threadGroups() where (try? DeadKernel.groupName(ofCgroup: kernel.cgroupPath(of: task))) ?? nil != nil
        {
            let descriptors = try kernel.reader.pointer(kernel.layout.task.files, of: task)
            guard !descriptors.isNull else { continue }
            let current = try kernel.reader.pointer(table.current, of: descriptors)
            let array = try kernel.reader.pointer(table.files, of: current)
            let limit = Int(try kernel.reader.uint32(table.limit, of: current))
            for number in 0..<min(limit, 64) {
                let file = try kernel.reader.memory.pointer(at: array + number * 8)
                if !file.isNull { found.append(file) }
            }
        }
        return Array(Set(found)).sorted()
    }

    @Test func everyDescriptorLeadsToAFileThatIsKnown() throws {
        for read in try DumpUnderTest.kernel().groups() {
            for table in read.group.descriptorTables.values {
                for descriptor in table.descriptors { #expect(read.group.openFiles[descriptor.file] != nil) }
            }
            for case .pipe(let pipe) in read.group.openFiles.values.map(\.kind) { #expect(read.group.pipes[pipe] != nil) }
        }
    }

    @Test func heldFilesOfTheCatchUpAreThoseOfTheGroups() throws {
        let kernel = try DumpUnderTest.kernel()
        let groups = kernel.groups().map(\.group)
        let catchUp = kernel.fileCatchUp(for: groups)
        var paths: Set<KernelString> = []
        // In a mount namespace of its own a group sees less of a path than the guest.
        var ends: Set<String> = []
        // Of the guest's memory that one shows all is needed.
        var places: Set<KernelString> = []
        for group in groups {
            for mount in group.mountNamespaces.values.flatMap(\.mounts) where mount.showsLostMemory {
                if let place = mount.guestPath { places.insert(place) }
            }
            for case .path(let node) in group.openFiles.values.map(\.kind) {
                if group.mountNamespaces.isEmpty { paths.insert(node.path) } else { ends.insert("\(node.path)") }
            }
        }
        for entry in catchUp.entries where entry.isHeld && entry.mode & 0o170000 == 0o100000 {
            let isKnown =
                paths.contains(entry.path) || ends.contains { "\(entry.path)".hasSuffix($0) }
                || places.contains { entry.path.isPath(atOrBelow: $0) }
            #expect(isKnown, "\(entry.path)")
        }
        for entry in catchUp.entries {
            var end: UInt64 = 0
            for run in entry.runs {
                #expect(run.address.rawValue >= end && run.address.rawValue < entry.sizeBytes)
                end = run.address.rawValue + UInt64(run.count) * 4096
            }
        }
        let names = Set(catchUp.entries.map(\.path))
        #expect(catchUp.removals.allSatisfy { !names.contains($0.path) })
        #expect(kernel.gaps.isEmpty, "\(kernel.gaps)")
    }

    /// Whatever a word of a file or of what it leads to is overwritten with, the walk ends, and other files are read.
    @Test func overwrittenFilesAreSurvived() throws {
        var random = SeededGenerator(seed: 0xf11e)
        for round in 0..<12 {
            let damaged = try DumpUnderTest.kernel { kernel, memory in
                let layout = kernel.layout.files
                for file in try files(in: kernel) where Int.random(in: 0..<3, using: &random) == 0 {
                    let inode = try kernel.reader.pointer(layout.file.inode, of: file)
                    let dentry = try kernel.reader.memory.pointer(at: file + layout.file.path.offset + 8)
                    let own = try kernel.reader.pointer(layout.file.privateData, of: file)
                    for object in [file, inode, dentry, own] where object.isKernel {
                        let offset = Int.random(in: 0..<80, using: &random) * 8
                        let word: UInt64 =
                            switch round % 4 {
                            case 0: .random(in: .min ... .max, using: &random)
                            case 1: file.rawValue
                            case 2: .random(in: 0..<0x1_0000_0000, using: &random)
                            default: object.rawValue &+ UInt64(offset)
                            }
                        if let place = try? kernel.physical(object + offset) { memory.write(word, at: place) }
                    }
                }
            }
            let groups = damaged.groups().map(\.group)
            _ = damaged.fileCatchUp(for: groups)
        }
    }

    @Test func aListOfInodesThatRunsInACircleEnds() throws {
        let whole = try DumpUnderTest.kernel()
        let wholeCatchUp = whole.fileCatchUp(for: whole.groups().map(\.group))
        let damaged = try DumpUnderTest.kernel { kernel, memory in
            var walk = FilesystemWalk(kernel: kernel.reader, layout: kernel.layout.files)
            let root = try #require(walk.volatileFilesystems().first)
            let head = root.identity.superblock + kernel.layout.files.superblock.inodes.offset
            let first = try kernel.reader.memory.pointer(at: head)
            let second = try kernel.reader.memory.pointer(at: first)
            memory.write(first.rawValue, at: try kernel.physical(second))
        }
        let catchUp = damaged.fileCatchUp(for: damaged.groups().map(\.group))
        #expect(damaged.gaps.contains { $0.field == "s_inodes" })
        #expect(catchUp.entries.count <= wholeCatchUp.entries.count)
    }
}
