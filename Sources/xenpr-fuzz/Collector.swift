import Foundation
import Mutation
import Subprocess

/// What all mutations came to.
struct Tally: Sendable {
    struct Failure: Sendable {
        var index: Int
        var outcome: Outcome
        var words: String
    }

    var total = 0
    var outcomes: [Outcome: Int] = [:]
    /// By what was changed.
    var objects: [String: [Outcome: Int]] = [:]
    var kinds: [String: [Outcome: Int]] = [:]
    /// Silent ones by field.
    var silent: [String: Int] = [:]
    var failures: [Failure] = []
    /// Silent although there is a check for it.
    var missed: [Failure] = []
}

/// Counts results of all workers.
actor Collector {
    private var tally = Tally()
    private var log: FileHandle?

    init(log path: String?) {
        if let path {
            _ = FileManager.default.createFile(atPath: path, contents: nil)
            log = FileHandle(forWritingAtPath: path)
        }
    }

    func add(_ line: Line) {
        count(line.outcome, object: line.object, kind: line.kind)
        if line.outcome == .silent {
            tally.silent["\(line.object).\(line.field)", default: 0] += 1
            if Guarded.covers(object: line.object, field: line.field, kind: line.kind) {
                let missed = Tally.Failure(
                    index: line.index, outcome: .silent, words: "\(line.object).\(line.field): \(line.words)")
                tally.missed.append(missed)
                tell(missed)
            }
        }
        if line.outcome.isFailure { fail(.init(index: line.index, outcome: line.outcome, words: line.words)) }
        try? log?.write(contentsOf: Data((line.text + "\n").utf8))
    }

    /// A worker did not live to tell.
    func addEnd(of index: Int, _ status: TerminationStatus) {
        var outcome = Outcome.crash
        if case .signaled(let signal) = status, signal == SIGPROF { outcome = .hang }
        count(outcome, object: "not told", kind: "not told")
        fail(.init(index: index, outcome: outcome, words: "\(status)"))
        try? log?.write(contentsOf: Data("end\t\(index)\t\(outcome.rawValue)\t\(status)\n".utf8))
    }

    private func fail(_ failure: Tally.Failure) {
        tally.failures.append(failure)
        tell(failure)
    }

    /// At once: a long run may be stopped before its end.
    private func tell(_ failure: Tally.Failure) {
        let line = "mutation \(failure.index): \(failure.outcome.rawValue), \(failure.words)\n"
        FileHandle.standardError.write(Data(line.utf8))
    }

    private func count(_ outcome: Outcome, object: String, kind: String) {
        tally.total += 1
        tally.outcomes[outcome, default: 0] += 1
        tally.objects[object, default: [:]][outcome, default: 0] += 1
        tally.kinds[kind, default: [:]][outcome, default: 0] += 1
        if tally.total % 1000 == 0 {
            FileHandle.standardError.write(Data("\(tally.total) mutations, \(tally.failures.count) failures\n".utf8))
        }
    }

    func finish() -> Tally {
        try? log?.close()
        return tally
    }
}
