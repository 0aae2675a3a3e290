import Checkpoint
import DumpSource
import Foundation
import GuestMemory
import KernelObjects
import ProcessModel
import Salvage
import Testing

@testable import KernelProcesses

/// What comes out of a dump when makedumpfile has compressed it, and when it has left pages out.
@Suite(.enabled(if: DumpUnderTest.path != nil, DumpUnderTest.comment), .serialized)
struct ConvertedDumpTests {
    /// Files that go when the test ends.
    private final class Directory {
        let path = FileManager.default.temporaryDirectory.appendingPathComponent("xenpr-\(UUID().uuidString)").path

        init() throws { try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true) }
        deinit { try? FileManager.default.removeItem(atPath: path) }
    }

    /// The dump under test in a form that makedumpfile takes: with the program headers behind the ELF header, where 1.7.2 looks for them. QEMU has
    /// section headers there.
    private func input(in directory: Directory) throws -> String {
        let path = directory.path + "/dump.elf"
        try FileManager.default.copyItem(atPath: #require(DumpUnderTest.path), toPath: path)
        try FileManager.default.setAttributes([.posixPermissions: 0o600], ofItemAtPath: path)
        let file = try FileHandle(forUpdating: URL(fileURLWithPath: path))
        defer { try? file.close() }
        let header = Array(try #require(try file.read(upToCount: 64)))
        func number(_ offset: Int, _ size: Int) -> UInt64 {
            header[offset..<offset + size].reversed().reduce(0) { $0 << 8 | UInt64($1) }
        }
        let count = number(56, 2)
        try file.seek(toOffset: number(32, 8))
        let segments = try #require(try file.read(upToCount: Int(count) * 56))
        var changed = header
        changed.replaceSubrange(32..<48, with: [64] + Array(repeating: 0, count: 15))
        changed.replaceSubrange(52..<64, with: [64, 0, 56, 0, UInt8(count), 0, 0, 0, 0, 0, 0, 0])
        try file.seek(toOffset: 0)
        try file.write(contentsOf: Data(changed) + segments)
        return path
    }

    /// - Parameter pipes: whether the dump goes through a pipe, and is therefore flattened.
    private func converted(_ options: [String], pipes: Bool = false, in directory: Directory) throws -> String {
        let output = directory.path + "/converted"
        let program = Process()
        program.executableURL = URL(fileURLWithPath: "/usr/bin/env")
        program.arguments =
            ["makedumpfile", "--message-level", "4"] + options + [try input(in: directory)] + (pipes ? [] : [output])
        let pipe = URL(fileURLWithPath: output + (pipes ? "" : ".log"))
        try Data().write(to: pipe)
        program.standardOutput = try FileHandle(forWritingTo: pipe)
        try program.run()
        program.waitUntilExit()
        #expect(program.terminationStatus == 0)
        return output
    }

    private func kernel(in path: String) throws -> DeadKernel {
        let memory = try DumpFile(path: path)
        let manifest = try KernelManifest.learn(from: memory, symbols: DeadKernel.symbols)
        let registers = try #require(DumpUnderTest.path) + ".registers"
        return DeadKernel(
            source: memory, manifest: manifest, layout: try KernelLayout(manifest.types),
            cpus: try QEMURegisters.read(path: registers))
    }

    private func salvage(_ kernel: DeadKernel, to name: String, in directory: Directory) throws -> (String, RecoveryManifest) {
        let volume = directory.path + "/" + name
        try FileManager.default.createDirectory(atPath: volume, withIntermediateDirectories: true)
        var manifest = try Salvage.run(kernel, .init(id: "r1", guest: "guest", salvager: .offline, volume: volume))
        manifest.timeline = []
        return (volume, manifest)
    }

    @Test(arguments: [(["-l", "-d", "0"], false), (["-c", "-d", "1"], true)])
    func compressedDumpsGiveTheSameCheckpoints(options: [String], pipes: Bool) throws {
        let directory = try Directory()
        let path = try converted(options + (pipes ? ["-F"] : []), pipes: pipes, in: directory)
        let (plain, wanted) = try salvage(kernel(in: #require(DumpUnderTest.path)), to: "plain", in: directory)
        let (compressed, found) = try salvage(kernel(in: path), to: "compressed", in: directory)
        #expect(found == wanted)
        let files = try FileManager.default.subpathsOfDirectory(atPath: plain).sorted()
        #expect(try FileManager.default.subpathsOfDirectory(atPath: compressed).sorted() == files)
        #expect(files.contains { $0.hasSuffix("/pages-1.img") })
        for file in files where file != "recovery.json" {
            #expect(FileManager.default.contentsEqual(atPath: plain + "/" + file, andPath: compressed + "/" + file), "\(file)")
        }
    }

    @Test func aDumpWithoutThePagesOfProcessesSaysSoOfEachGroup() throws {
        let directory = try Directory()
        let kernel = try kernel(in: converted(["-l", "-d", "31"], in: directory))
        let (_, manifest) = try salvage(kernel, to: "volume", in: directory)
        #expect(!manifest.groups.isEmpty && manifest.files.isEmpty && manifest.gaps.isEmpty)
        for group in manifest.groups {
            #expect(group.verdict == .refused && group.images == nil)
            #expect(group.reasons.first?.contains("makedumpfile -d 31, of which 8") == true, "\(group.reasons)")
        }
        // What is the kernel's is there all the same.
        let whole = try DumpUnderTest.kernel()
        #expect(kernel.processList().map(\.pid) == whole.processList().map(\.pid))
        #expect(kernel.omission?.contains("makedumpfile -d 31") == true)
    }

    @Test func anELFDumpWithoutThePagesOfProcessesSaysSoOfEachGroup() throws {
        let directory = try Directory()
        let (_, manifest) = try salvage(kernel(in: converted(["-E", "-d", "31"], in: directory)), to: "volume", in: directory)
        #expect(!manifest.groups.isEmpty)
        // An ELF file has up to 256 of the pages that were left out where they lie between others (PFN_EXCLUDED, makedumpfile.h), which may be all stacks of a group.
        let reasons = manifest.groups.map { $0.reasons.joined(separator: "; ") }
        for (group, reason) in zip(manifest.groups, reasons) {
            #expect(group.verdict == .refused)
            let words = ["without the pages of processes", "is not in the dump", "which is not at hand"]
            #expect(words.contains { reason.contains($0) }, "\(reason)")
        }
        #expect(reasons.contains { $0.contains("without the pages of processes") })
    }
}
