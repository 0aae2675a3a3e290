import Foundation
import GuestMemory
import ImageDiff
import ProcessModel
import Testing

@testable import Checkpoint

@Suite struct ImageDiffTests {
    /// The directory of a group's images.
    private func images(of sample: SyntheticGroup, in scratch: ScratchDirectory, _ name: String) throws -> String {
        var sample = sample
        let volume = scratch.path + "/" + name
        try FileManager.default.createDirectory(atPath: volume, withIntermediateDirectories: true)
        let saved = GroupCheckpoint.save(sample.group, pages: &sample.supply, toVolume: volume)
        return volume + "/" + (try #require(saved.images, "\(saved.reasons)"))
    }

    private func differences(_ change: (inout SyntheticGroup) -> Void) throws -> [ImageDifference] {
        let scratch = ScratchDirectory()
        var changed = SyntheticGroup()
        change(&changed)
        return try ImageComparison.compare(
            images(of: SyntheticGroup(), in: scratch, "a"), images(of: changed, in: scratch, "b"))
    }

    @Test func sameGroupHasNoDifferences() throws {
        #expect(try differences { _ in }.isEmpty)
    }

    /// Other numbers for the same open files are no difference.
    @Test func filesAreKnownByTheirDescriptors() throws {
        let found = try differences { sample in
            func moved(_ id: FileID) -> FileID { FileID(rawValue: 100 - id.rawValue) }
            sample.group.openFiles = Dictionary(
                uniqueKeysWithValues: sample.group.openFiles.map { id, file in
                    var file = file
                    if case .epoll(let targets) = file.kind {
                        file.kind = .epoll(
                            targets.map {
                                EpollTarget(
                                    descriptor: $0.descriptor, file: $0.file.map(moved), events: $0.events, data: $0.data)
                            })
                    }
                    return (moved(id), file)
                })
            for id in sample.group.descriptorTables.keys {
                let old = sample.group.descriptorTables[id]?.descriptors ?? []
                sample.group.descriptorTables[id]?.descriptors = old.map {
                    Descriptor(number: $0.number, file: moved($0.file), closesOnExec: $0.closesOnExec)
                }
            }
            for id in sample.group.addressSpaces.keys {
                sample.group.addressSpaces[id]?.executable = moved(FileID(rawValue: 1))
                for index in sample.group.addressSpaces[id]?.mappings.indices ?? 0..<0 {
                    if case .privateFile(let file)? = sample.group.addressSpaces[id]?.mappings[index].kind {
                        sample.group.addressSpaces[id]?.mappings[index].kind = .privateFile(moved(file))
                    }
                }
            }
        }
        #expect(found.isEmpty, "\(found)")
    }

    @Test func findsTheFieldThatDiffers() throws {
        let mask = try differences { $0.group.processes[0].threads[1].signalMask = 0x8000 }
        #expect(mask.map(\.object) == [ImageObject(kind: .thread, process: 2001, number: 2002)])
        #expect(mask.map(\.field) == ["thread_core.blk_sigset"])
        #expect(mask.first?.a == "0x0" && mask.first?.b == "0x8000")
        let protection = try differences { sample in
            sample.group.addressSpaces[AddressSpaceID(rawValue: 2)]?.mappings[1].protection = 1
        }
        #expect(protection.map(\.object) == [ImageObject(kind: .area, process: 2001, number: 0x5555_5560_0000)])
        #expect(protection.map(\.field) == ["prot"])
        let descriptor = try differences { sample in
            sample.group.descriptorTables[DescriptorTableID(rawValue: 2)]?.descriptors.removeAll { $0.number == 11 }
        }
        #expect(Set(descriptor.map(\.field)) == ["all"])
        #expect(descriptor.contains { $0.object == ImageObject(kind: .descriptor, process: 2001, number: 11) && $0.b == nil })
        #expect(descriptor.allSatisfy { $0.reason == nil })
    }

    @Test func findsThePageThatDiffers() throws {
        let found = try differences { sample in
            let frame = sample.supply.runs[.addressSpace(AddressSpaceID(rawValue: 2))]?[2].frame.rawValue ?? 0
            sample.supply.frames[frame]?[9] ^= 1
        }
        #expect(found.map(\.object) == [ImageObject(kind: .page, process: 2001, number: 0x7fff_0000_1000)])
        #expect(found.first?.a?.contains("1 bytes differ from 0x9 on") == true)
    }

    /// A fifo and its node have the same number in our images.
    @Test func aFifoIsComparedWithItsNode() throws {
        func sample(_ path: KernelString) -> SyntheticGroup {
            var sample = SyntheticGroup()
            sample.add(4, .fifo(FileNode(path: path, type: .other, mode: 0o10600), pipe: PipeID(rawValue: 1)))
            return sample
        }
        let scratch = ScratchDirectory()
        let images = try images(of: sample("/run/queue"), in: scratch, "a")
        #expect(try ImageComparison.compare(images, self.images(of: sample("/run/queue"), in: scratch, "b")).isEmpty)
        let found = try ImageComparison.compare(images, self.images(of: sample("/run/other"), in: scratch, "c"))
        #expect(found.map(\.field) == ["node.name"])
    }

    /// Whatever is cut off an image, there is a difference or an error that names a file, and never a crash.
    @Test func cutAndChangedImagesAreSurvived() throws {
        let scratch = ScratchDirectory()
        let whole = try images(of: SyntheticGroup(), in: scratch, "a")
        let broken = try images(of: SyntheticGroup(), in: scratch, "b")
        var seed: UInt64 = 0x5eed
        for name in names(in: broken) where !name.hasPrefix("pages-") {
            let file = broken + "/" + name
            let bytes = try contents(of: file)
            for _ in 0..<24 {
                seed = seed &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
                let place = Int(seed >> 33) % bytes.count
                var changed = bytes
                changed[place] ^= UInt8(truncatingIfNeeded: seed >> 20) | 1
                for variant in [changed, Array(bytes.prefix(place))] {
                    try Data(variant).write(to: URL(fileURLWithPath: file))
                    do throws(ImageDiffError) { _ = try ImageComparison.compare(whole, broken) } catch {
                        #expect(!error.description.isEmpty)
                    }
                }
            }
            try Data(bytes).write(to: URL(fileURLWithPath: file))
        }
        #expect(try ImageComparison.compare(whole, broken).isEmpty)
    }

    @Test func aDirectoryWithoutImagesIsAnError() throws {
        let scratch = ScratchDirectory()
        #expect(throws: ImageDiffError.self) { try ImageComparison.compare(scratch.path, scratch.path) }
        #expect(throws: ImageDiffError.self) { try ImageComparison.compare(scratch.path + "/none", scratch.path) }
    }

    /// docs/diff.md is made by `make diff-table`.
    @Test func theDocumentIsThatOfTheTable() throws {
        let root = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
            .deletingLastPathComponent()
        let document = try String(contentsOf: root.appendingPathComponent("docs/diff.md"), encoding: .utf8)
        #expect(document == AllowedDifferencesDocument.text)
    }
}
