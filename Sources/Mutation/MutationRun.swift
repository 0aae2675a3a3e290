import Checkpoint
import Foundation
import GuestMemory
import KernelObjects
import KernelProcesses
import KernelTypes

/// Salvages a dead kernel again and again, each time with one change of its memory.
///
/// Only the groups that read the changed bytes are walked again, for the others would be read as they were; the list of tasks and all memberships are
/// always read anew.
public final class MutationRun {
    /// How a mutation ended, and what it was.
    public struct Report: Sendable {
        public var mutation: Mutation
        public var place: ObjectNames.Place
        public var virtual: VirtualAddress
        public var outcome: Outcome
        /// What tells of it, or which groups are silently another.
        public var words: String
    }

    private struct Known {
        var manifest: KernelManifest
        var layout: KernelLayout
    }

    private let memory: OverlaidMemory
    private let cpus: [VCPUContext]
    private let known: Known
    private let names: ObjectNames
    private let sink: SalvageSink
    private let seed: UInt64
    /// Names of all groups, in the order of their numbers.
    public private(set) var groupNames: [String] = []
    private var pieces: [ReadPiece] = []
    /// Pieces by their kind of object, and how often each kind is chosen.
    private var classes: [(name: String, members: [Int], weight: Int)] = []
    private var pointers: [UInt64] = []
    private var learnedFrames: [UInt64] = []
    private var baseline = WalkResult()

    /// Each group's verdict and reasons without a change, and the gaps.
    public var unchanged: [String] {
        baseline.groups.sorted { $0.key < $1.key }.map {
            ([$0.key, $0.value.verdict.rawValue] + $0.value.reasons).joined(separator: "  ")
        }
            + baseline.gaps.map { "gap: \($0)" }
    }

    /// Pieces that the walk reads and that can be changed.
    public var pieceCount: Int { pieces.count }
    /// Bytes kept of the dump, which are no part of what a salvage needs.
    public var cachedBytes: Int { memory.cachedBytes }

    /// Of a thousand mutations, those of what the kernel is learned from. In a guest with a minor they cannot happen: it learns the healthy kernel.
    private static let learnedShare = 10
    private static let entryLimit = 1 << 16

    /// Learns the kernel and makes the salvage that all others are compared with.
    public init(source: any FrameSource, cpus: [VCPUContext], seed: UInt64, directory: String) throws {
        let memory = OverlaidMemory(source)
        self.memory = memory
        self.cpus = cpus
        self.seed = seed
        sink = try SalvageSink(directory: directory)
        var learned: KernelManifest?
        let frames = try memory.framesRead { learned = try KernelManifest.learn(from: memory, symbols: DeadKernel.symbols) }
        guard let learned else { throw KernelError.noVMCoreInfo }
        learnedFrames = frames.sorted()
        known = Known(manifest: learned, layout: try KernelLayout(learned.types))
        let pristine = KernelReader(
            memory: VirtualMemory(source: memory, tables: learned.tables), symbols: learned.symbols)
        names = try ObjectNames(reader: pristine, types: learned.types)
        record(translating: pristine.memory)
    }

    private func kernel() -> DeadKernel {
        DeadKernel(source: memory, manifest: known.manifest, layout: known.layout, cpus: cpus)
    }

    // MARK: What the walk reads

    private func record(translating pristine: VirtualMemory) {
        var readers: [UInt64: Readers] = [:]
        var sizes: [UInt64: UInt8] = [:]
        func take(_ recorder: ReadRecorder, _ who: Readers) {
            for (address, size) in recorder.sizes {
                readers[address, default: []].formUnion(who)
                sizes[address] = max(size, sizes[address] ?? 0)
            }
        }
        func observed(_ who: Readers, _ body: (DeadKernel, ReadRecorder) -> Void) {
            let recorder = ReadRecorder()
            let kernel = kernel()
            kernel.reader.memory.observer = { recorder.note($0, $1) }
            body(kernel, recorder)
            kernel.reader.memory.observer = nil
            take(recorder, who)
        }
        let all = kernel()
        groupNames = all.groups().map(\.group.name)
        observed(.everyGroup) { kernel, _ in _ = kernel.groups(named: []) }
        let shared = Set(sizes.keys)
        var entries: [PhysicalAddress: Readers] = [:]
        for (number, name) in groupNames.enumerated() {
            let recorder = ReadRecorder()
            let kernel = kernel()
            kernel.reader.memory.observer = { recorder.note($0, $1) }
            for read in kernel.groups(named: [name]) {
                baseline.groups[name] = sink.save(read)
                for tables in read.pages.pageTables {
                    for entry in tables.userEntries(in: memory, limit: Self.entryLimit) {
                        entries[entry, default: []].formUnion(.group(number))
                    }
                }
            }
            kernel.reader.memory.observer = nil
            for (address, size) in recorder.sizes where !shared.contains(address) {
                readers[address, default: []].formUnion(.group(number))
                sizes[address] = max(size, sizes[address] ?? 0)
            }
        }
        let whole = kernel()
        let groups = whole.groups()
        let recorder = ReadRecorder()
        whole.reader.memory.observer = { recorder.note($0, $1) }
        baseline.files = sink.saveFiles(of: groups, in: whole)
        whole.reader.memory.observer = nil
        take(recorder, .files)
        baseline.gaps = whole.gaps.map { "\($0)" }
        for (address, size) in sizes {
            let virtual = VirtualAddress(address)
            guard let physical = try? pristine.translate(virtual) else { continue }
            pieces.append(ReadPiece(physical: physical, virtual: virtual, size: Int(size), readers: readers[address] ?? []))
        }
        for (address, who) in entries {
            pieces.append(ReadPiece(physical: address, virtual: .null, size: 8, readers: who))
        }
        pieces.sort { ($0.physical, $0.virtual) < ($1.physical, $1.virtual) }
        classify()
    }

    private func classify() {
        var members: [String: [Int]] = [:]
        var followed: Set<UInt64> = []
        for (index, piece) in pieces.enumerated() {
            let who = piece.readers == .files ? "files: " : ""
            members[who + names.place(of: piece).object, default: []].append(index)
            if piece.size == 8, !piece.virtual.isNull {
                let value = Mutator.value(old(of: piece)[...])
                if Mutator.isKernelPointer(value) { followed.insert(value) }
            }
        }
        pointers = followed.sorted()
        // The square root lets the few pieces of rare objects be met, and those of common ones more often.
        classes = members.sorted { $0.key < $1.key }.map { name, members in
            let root = Int(Double(members.count).squareRoot()) + 1
            return (name, members, name.hasPrefix("files: ") ? root / 8 + 1 : root)
        }
    }

    private func old(of piece: ReadPiece) -> [UInt8] {
        guard let frame = memory.contents(of: piece.physical.frame) else { return [] }
        let start = piece.physical.offsetInFrame
        return Array(frame[start..<min(start + piece.size, frame.count)])
    }

    // MARK: One mutation

    /// The change with this number, and the piece that it hits. The same for the same seed, dump and program.
    public func mutation(_ index: Int) -> (Mutation, ReadPiece, Readers) {
        var random = SeededRandom(seed: seed, index: index)
        if random.below(1000) < Self.learnedShare, !learnedFrames.isEmpty { return learnedMutation(&random) }
        var pick = random.below(classes.reduce(0) { $0 + $1.weight })
        var chosen = classes[0]
        for candidate in classes {
            chosen = candidate
            if pick < candidate.weight { break }
            pick -= candidate.weight
        }
        let piece = pieces[chosen.members[random.below(chosen.members.count)]]
        let bytes = old(of: piece)
        let value = Mutator.value(bytes[...])
        let kind = Mutator.kind(for: value, size: bytes.count, random: &random)
        if kind == .zeroPage || kind == .noisePage {
            let start = piece.physical.frame.address
            let new = (0..<FrameNumber.size).map { _ in kind == .zeroPage ? 0 : UInt8(truncatingIfNeeded: random.next()) }
            let mutation = Mutation(kind: kind, address: start, old: memory.contents(of: start.frame) ?? [], new: new)
            return (mutation, piece, readers(of: start.frame))
        }
        let earlier = chosen.members.prefix(64).map { Mutator.value(old(of: pieces[$0])[...]) }.filter(Mutator.isKernelPointer)
        let new = Mutator.value(
            kind, of: value, size: bytes.count, pointers: pointers, earlier: earlier, place: piece.virtual.rawValue,
            random: &random)
        let mutation = Mutation(
            kind: kind, address: piece.physical, old: bytes, new: Mutator.bytes(new, size: bytes.count))
        return (mutation, piece, piece.readers)
    }

    private func learnedMutation(_ random: inout SeededRandom) -> (Mutation, ReadPiece, Readers) {
        let frame = FrameNumber(learnedFrames[random.below(learnedFrames.count)])
        let address = PhysicalAddress(frame.address.rawValue + UInt64(random.below(FrameNumber.size / 4) * 4))
        let piece = ReadPiece(physical: address, virtual: .null, size: 4, readers: .everyGroup)
        let bytes = old(of: piece)
        let value = Mutator.value(bytes[...])
        let kind: Mutation.Kind = [.bit, .zero, .ones, .random, .delta][random.below(5)]
        let new = Mutator.value(
            kind, of: value, size: bytes.count, pointers: [], earlier: [], place: 0, random: &random)
        return (
            Mutation(kind: .learned, address: address, old: bytes, new: Mutator.bytes(new, size: bytes.count)), piece,
            .everyGroup
        )
    }

    /// Everyone who reads something of a frame.
    private func readers(of frame: FrameNumber) -> Readers {
        var low = 0
        var high = pieces.count
        while low < high {
            let middle = (low + high) / 2
            if pieces[middle].physical < frame.address { low = middle + 1 } else { high = middle }
        }
        var found: Readers = []
        while low < pieces.count, pieces[low].physical.frame == frame {
            found.formUnion(pieces[low].readers)
            low += 1
        }
        return found
    }

    /// Makes the change, salvages, compares, and takes the change back.
    public func run(_ index: Int) -> Report {
        let (mutation, piece, readers) = mutation(index)
        let place = mutation.kind == .learned ? ObjectNames.Place(object: "learned", field: "word") : names.place(of: piece)
        memory.write(mutation.new, at: mutation.address)
        defer { memory.restore() }
        var report = Report(mutation: mutation, place: place, virtual: piece.virtual, outcome: .none, words: "")
        if mutation.old == mutation.new { return report }
        let kernel: DeadKernel
        if mutation.kind == .learned {
            do {
                let manifest = try KernelManifest.learn(from: memory, symbols: DeadKernel.symbols)
                kernel = DeadKernel(source: memory, manifest: manifest, layout: try KernelLayout(manifest.types), cpus: cpus)
            } catch {
                report.outcome = .refused
                report.words = "\(error)"
                return report
            }
        } else {
            kernel = self.kernel()
        }
        let names = Set(groupNames.enumerated().filter { readers.contains(group: $0.offset) }.map(\.element))
        let (outcome, words) = compare(walk(kernel, names, files: readers.contains(.files)), names)
        report.outcome = outcome
        report.words = words
        return report
    }

    private func walk(_ kernel: DeadKernel, _ names: Set<String>, files: Bool) -> WalkResult {
        var result = WalkResult()
        // The catch-up depends on the files of all groups.
        let groups = kernel.groups(named: files ? nil : names)
        for read in groups where names.contains(read.group.name) { result.groups[read.group.name] = sink.save(read) }
        if files { result.files = sink.saveFiles(of: groups, in: kernel) }
        result.gaps = kernel.gaps.map { "\($0)" }
        return result
    }

    private func compare(_ result: WalkResult, _ names: Set<String>) -> (Outcome, String) {
        var silent: [String] = []
        for name in names.sorted() {
            guard let before = baseline.groups[name] else { continue }
            guard let now = result.groups[name] else {
                silent.append("\(name) is gone")
                continue
            }
            if now.verdict != before.verdict || now.reasons != before.reasons {
                let new = now.reasons.first { !before.reasons.contains($0) } ?? "reasons are gone"
                return (.noticed, "\(name) \(now.verdict.rawValue): \(new)")
            }
            if now.images != before.images { silent.append(name) }
        }
        if let gap = result.gaps.first(where: { !baseline.gaps.contains($0) }) { return (.noticed, "gap: \(gap)") }
        if let files = result.files, files != baseline.files { silent.append("catch-up of files") }
        return silent.isEmpty ? (.none, "") : (.silent, silent.joined(separator: ", "))
    }
}
