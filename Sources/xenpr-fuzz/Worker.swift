import ArgumentParser
import DumpSource
import Foundation
import Glibc
import Mutation

/// Makes mutations one after the other and prints what became of each; a crash ends only this process.
struct WorkCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(commandName: "work", shouldDisplay: false)

    @OptionGroup var source: FuzzSource
    @Option var from: Int
    @Option var to: Int

    func run() async throws {
        let run = try source.open()
        var limits = Limits()
        for index in from..<to {
            say("start \(index)")
            limits.begin(cached: run.cachedBytes)
            let report = run.run(index)
            let outcome = limits.isOverMemory(cached: run.cachedBytes) ? Outcome.memory : report.outcome
            say(Line(report, outcome: outcome, index: index).text)
        }
        limits.end()
    }

    /// Written at once: what was said before a crash must not be lost with it.
    private func say(_ line: String) {
        FileHandle.standardOutput.write(Data((line + "\n").utf8))
    }
}

/// One result on its way from a worker: fields separated by tabs.
struct Line: Sendable {
    var index: Int
    var outcome: Outcome
    var kind: String
    var object: String
    var field: String
    var words: String

    init(_ report: MutationRun.Report, outcome: Outcome, index: Int) {
        self.index = index
        self.outcome = outcome
        kind = report.mutation.kind.rawValue
        object = report.place.object
        field = report.place.field
        words = report.words
    }

    init?(_ text: String) {
        let parts = text.split(separator: "\t", omittingEmptySubsequences: false).map(String.init)
        guard parts.count == 7, parts[0] == "result", let index = Int(parts[1]), let outcome = Outcome(rawValue: parts[2])
        else {
            return nil
        }
        self.index = index
        self.outcome = outcome
        kind = parts[3]
        object = parts[4]
        field = parts[5]
        words = parts[6]
    }

    var text: String {
        // Names come out of a damaged kernel.
        let plain = words.prefix(300).map { $0.isASCII && !$0.isNewline && $0 != "\t" ? $0 : "?" }
        return ["result", "\(index)", outcome.rawValue, kind, object, field, String(plain)].joined(separator: "\t")
    }
}

/// What a salvage of a mutated kernel may use.
struct Limits {
    /// Processor time, not time on the wall: a busy machine is no hang.
    static let seconds = 20
    static let memoryBytes = 512 << 20
    /// What ends a worker that takes too much at once.
    private static let addressSpaceBytes = 6 << 30

    private var before = 0
    private var cachedBefore = 0

    init() {
        var limit = rlimit(rlim_cur: rlim_t(Self.addressSpaceBytes), rlim_max: rlim_t(Self.addressSpaceBytes))
        // The call only reads the structure that it is given.
        _ = unsafe setrlimit(__rlimit_resource_t(RLIMIT_AS.rawValue), &limit)
    }

    /// SIGPROF ends the worker when the time is over.
    /// - Parameter cached: bytes that are kept of the dump, which are no part of what a salvage needs.
    mutating func begin(cached: Int) {
        arm(Self.seconds)
        // proc(5): 5 resets the peak of the resident set.
        FileHandle(forWritingAtPath: "/proc/self/clear_refs")?.write(Data("5".utf8))
        before = Self.peak()
        cachedBefore = cached
    }

    func end() { arm(0) }

    func isOverMemory(cached: Int) -> Bool {
        Self.peak() - before - max(0, cached - cachedBefore) > Self.memoryBytes
    }

    private func arm(_ seconds: Int) {
        var timer = itimerval(
            it_interval: timeval(tv_sec: 0, tv_usec: 0), it_value: timeval(tv_sec: seconds, tv_usec: 0))
        // The call only reads the structure that it is given.
        _ = unsafe setitimer(__itimer_which_t(ITIMER_PROF.rawValue), &timer, nil)
    }

    /// The peak of the resident set in bytes; 0 where the system does not tell.
    private static func peak() -> Int {
        guard let text = try? String(contentsOfFile: "/proc/self/status", encoding: .utf8),
            let line = text.split(separator: "\n").first(where: { $0.hasPrefix("VmHWM:") }),
            let number = line.split(whereSeparator: \.isWhitespace).dropFirst().first.flatMap({ Int($0) })
        else { return 0 }
        return number << 10
    }
}

/// The dump to work on, and the numbers that make the mutations.
struct FuzzSource: ParsableArguments {
    @Argument(help: "The memory dump of a guest whose kernel died; its registers are beside it (DUMP.registers).")
    var dump: String
    @Option(help: "The mutations of another seed are other ones.")
    var seed: UInt64 = 1

    func open() throws -> MutationRun {
        let registers = dump + ".registers"
        let memory = FileManager.default.fileExists(atPath: "/dev/shm") ? "/dev/shm" : NSTemporaryDirectory()
        let source = try DumpFile(path: dump)
        return try MutationRun(
            source: source,
            cpus: FileManager.default.fileExists(atPath: registers) ? QEMURegisters.read(path: registers) : source.cpus,
            seed: seed,
            directory: "\(memory)/xenpr-fuzz-\(getpid())")
    }
}
