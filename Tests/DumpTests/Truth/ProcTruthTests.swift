import Checkpoint
import Foundation
import GuestMemory
import ImageDiff
import ProcessModel
import Testing

@testable import KernelProcesses

/// The model of the dead kernel against what the living one said of the same processes just before it died.
///
/// XENPR_DUMP promises a record beside the dump (`xenpr-lab run --dump FILE --truth`): without it these tests fail.
@Suite(.enabled(if: DumpUnderTest.path != nil, DumpUnderTest.comment), .serialized)
struct ProcTruthTests {
    private let truth: TruthRecord
    private let groups: [ReadGroup]

    init() throws {
        truth = try TruthRecord(besideDump: try #require(DumpUnderTest.path))
        groups = try DumpUnderTest.kernel().groups()
    }

    /// Processes that were there at the record and at the crash.
    private func forEachProcess(_ body: (ModelledProcess, ReadGroup, ProcRecord, _ isStill: Bool) throws -> Void) throws {
        for read in groups {
            guard let recorded = truth.groups[read.group.name] else { continue }
            for process in read.group.processes where recorded.pids.contains(process.pid) {
                try body(
                    ModelledProcess(process: process, group: read.group), read, truth.process(process.pid), recorded.still)
            }
        }
    }

    private func expectNone(_ result: ComparisonResult) {
        #expect(result.compared > 0)
        #expect(result.differences.isEmpty, "\(result.differences.joined(separator: "\n"))")
    }

    @Test func everyGroupOfTheRecordIsInTheModel() throws {
        let modelled = Dictionary(uniqueKeysWithValues: groups.map { ($0.group.name, Set($0.group.processes.map(\.pid))) })
        for (name, group) in truth.groups where !group.pids.isEmpty {
            let pids = try #require(modelled[name], "\(name)")
            if group.still { #expect(pids == Set(group.pids), "\(name)") }
        }
        #expect(truth.groups.values.contains { $0.still })
    }

    @Test func processes() throws {
        var result = ComparisonResult()
        try forEachProcess { subject, _, record, isStill in
            result.compare(ProcessFields.all, "process \(subject.process.pid)", record, subject, isStill: isStill)
        }
        expectNone(result)
    }

    @Test func threads() throws {
        var result = ComparisonResult()
        try forEachProcess { subject, _, record, isStill in
            if isStill, !subject.isZombie {
                result.compare(
                    "process \(subject.process.pid)", "threads", record.names(in: "task").sorted().joined(separator: " "),
                    subject.process.threads.map { "\($0.tid)" }.sorted().joined(separator: " "))
            }
            for thread in subject.process.threads {
                result.compare(
                    ThreadFields.all, "thread \(subject.process.pid)/\(thread.tid)", record.thread(thread.tid), thread,
                    isStill: isStill)
            }
        }
        expectNone(result)
    }

    @Test func areasOfMemory() throws {
        var result = ComparisonResult()
        try forEachProcess { subject, read, record, isStill in
            // Others may map and unmap between the record and the crash.
            guard isStill, let space = subject.addressSpace else { return }
            var pages = read.pages
            let recorded = RecordedArea.list(record)
            let object = "process \(subject.process.pid)"
            // The gate is in no mm: it is shown for each process and belongs to none.
            let own = recorded.filter { $0.path != "[vsyscall]" }
            let modelled = space.mappings.filter { $0.kind != .kernelGate }
            result.compare(
                object, "areas", own.map(\.range).joined(separator: " "), modelled.map(AreaText.range).joined(separator: " "))
            for (area, mapping) in zip(own, modelled) where area.range == AreaText.range(mapping) {
                let name = "\(object) area \(area.range)"
                result.compare(name, "permissions", area.permissions, AreaText.permissions(mapping))
                let isSpecial = mapping.kind == .vdso || mapping.kind == .vvar
                if !isSpecial {
                    result.compare(
                        name, "VmFlags", area.flags.intersection(AreaText.knownFlags).sorted().joined(separator: " "),
                        AreaText.flags(mapping).sorted().joined(separator: " "))
                    let saved = try pages.savedPages(of: mapping, in: subject.process.addressSpace)
                    if area.permissions.hasSuffix("p") {
                        result.compare(name, "Anonymous", area.anonymousKilobytes.map { "\($0)" }, "\(saved * 4)")
                    }
                }
                let words = AreaText.name(mapping, in: subject.group)
                result.compare(name, "path", area.path, words?.path)
                result.compare(name, "inode", "\(area.inode)", words.map { "\($0.inode)" })
                // The model has no device of sockets.
                var isSocket = false
                if case .packetRing = mapping.kind { isSocket = true }
                if !isSocket { result.compare(name, "device", area.device, words?.device.map(AreaText.device)) }
                if area.inode != 0 { result.compare(name, "offset", "\(area.offset)", "\(mapping.offsetBytes)") }
            }
        }
        expectNone(result)
    }

    @Test func descriptors() throws {
        var result = ComparisonResult()
        try forEachProcess { subject, _, record, isStill in
            let object = "process \(subject.process.pid)"
            let links = record.links
            if isStill {
                result.compare(
                    object, "descriptors",
                    links.keys.filter { $0.hasPrefix("fd/") }.compactMap { Int32($0.dropFirst(3)) }.sorted().map { "\($0)" }
                        .joined(separator: " "),
                    subject.descriptors.map { "\($0.number)" }.joined(separator: " "))
            }
            for descriptor in subject.descriptors {
                let number = descriptor.number
                guard let file = subject.group.openFiles[descriptor.file], let target = links["fd/\(number)"],
                    // A busy process may have another file there by the crash.
                    isStill || target == FileText.target(file, in: subject.group)
                else { continue }
                let name = "\(object) descriptor \(number)"
                if case .unsupported = file.kind { continue }
                result.compare(name, "file", target, FileText.target(file, in: subject.group))
                for line in FileText.information(file, descriptor: descriptor) where isStill || !line.isStillOnly {
                    result.compare(name, line.name, record.field(line.name, of: "fdinfo/\(number)"), line.value)
                }
                guard isStill else { continue }
                if let targets = FileText.targets(file) {
                    result.compare(
                        name, "registrations", FileText.recordedTargets(record, "fdinfo/\(number)").joined(separator: ", "),
                        targets.joined(separator: ", "))
                }
                if let watches = FileText.watches(file) {
                    result.compare(
                        name, "watches", FileText.recordedWatches(record, "fdinfo/\(number)").joined(separator: ", "),
                        watches.joined(separator: ", "))
                }
            }
        }
        expectNone(result)
    }

    @Test func pagesOfStillProcesses() throws {
        var result = ComparisonResult()
        try forEachProcess { subject, read, record, isStill in
            guard isStill, let id = subject.process.addressSpace, let space = subject.addressSpace else { return }
            let own = try Self.checksums(of: .addressSpace(id), read)
            // Of these all pages are saved, also those that no page table maps yet.
            let special = space.mappings.filter {
                switch $0.kind {
                case .vdso, .asynchronousIORing: true
                default: false
                }
            }.map { $0.start.rawValue..<$0.end.rawValue }
            let object = "process \(subject.process.pid)"
            var recorded: Set<UInt64> = []
            for line in record.lines("pages") ?? [] {
                let words = line.split(separator: " ")
                guard words.count > 1, let address = UInt64(words[0], radix: 16), let sum = UInt32(words[1], radix: 16) else {
                    continue
                }
                recorded.insert(address)
                // The kernel's one page of zeros counts as present, and nobody saves it.
                if own[address] == nil, sum == Self.zeroPage { continue }
                result.compare(
                    object, "page 0x\(String(address, radix: 16))", String(sum, radix: 16),
                    own[address].map { String($0, radix: 16) })
            }
            for address in own.keys.sorted()
            where !recorded.contains(address) && !special.contains(where: { $0.contains(address) }) {
                result.compare(object, "page 0x\(String(address, radix: 16))", "absent", "saved")
            }
        }
        expectNone(result)
    }

    private static let zeroPage = CRC32.of(Array(repeating: 0, count: 4096))

    private static func checksums(of object: MemoryObject, _ read: ReadGroup) throws -> [UInt64: UInt32] {
        try contents(of: object, read).mapValues { CRC32.of($0) }
    }

    private static func contents(of object: MemoryObject, _ read: ReadGroup) throws -> [UInt64: [UInt8]] {
        var pages = read.pages
        var runs: [PageRun] = []
        try pages.forEachBatch(of: object) { batch in
            runs += batch
            return true
        }
        var result: [UInt64: [UInt8]] = [:]
        for run in runs {
            for index in 0..<UInt64(run.count) {
                var bytes: [UInt8] = []
                // The pieces are copied while they are lent.
                try unsafe pages.lend([FrameNumber(run.frame.rawValue + index)]) { pieces in
                    unsafe bytes = pieces.reduce(into: []) { unsafe $0 += $1 }
                }
                result[run.address.rawValue + index * 4096] = bytes
            }
        }
        return result
    }

    @Test func argumentsAndEnvironment() throws {
        var result = ComparisonResult()
        try forEachProcess { subject, read, record, isStill in
            guard isStill, let id = subject.process.addressSpace, let space = subject.addressSpace else { return }
            let pages = try Self.contents(of: .addressSpace(id), read)
            func text(_ start: VirtualAddress, _ end: VirtualAddress) -> String {
                guard end.rawValue >= start.rawValue, end.rawValue - start.rawValue < 1 << 21 else { return "out of bounds" }
                let bytes = (start.rawValue..<end.rawValue).map { pages[$0 & ~4095]?[Int($0 & 4095)] ?? 0 }
                return String(decoding: bytes, as: UTF8.self)
            }
            let object = "process \(subject.process.pid)"
            result.compare(object, "cmdline", record.text("cmdline"), text(space.argumentsStart, space.argumentsEnd))
            result.compare(object, "environ", record.text("environ"), text(space.environmentStart, space.environmentEnd))
        }
        expectNone(result)
    }
}
