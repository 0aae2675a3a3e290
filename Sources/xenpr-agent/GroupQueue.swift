import Glibc

/// Restores groups, several at a time.
struct GroupQueue {
    let groups: [RecoveryManifest.Group]
    /// Where their directories are.
    let directory: String

    /// How long nothing new is said while CRIU works.
    private static let progressSeconds = 20.0

    /// A group whose CRIU runs.
    private struct Active {
        let index: Int
        let restore: GroupRestore
        let program: RunningProgram
        let begin: Double
    }

    /// Restores each group and returns what became of each, in their order. One that fails does not stop the others.
    func run() -> [RestoreReport.Group] {
        var queues = PosixQueues()
        var results: [Int: RestoreReport.Group] = [:]
        var waiting = groups.indices.reversed().map { $0 }
        var active: [Active] = []
        // The first one alone, for it has CRIU learn the features of the kernel, which the others find in its cache.
        var width = 1
        var step = 0
        let terminals = PseudoTerminals(for: groups)
        let widest = max(1, min(4, sysconf(Int32(_SC_NPROCESSORS_ONLN))))
        while !waiting.isEmpty || !active.isEmpty {
            while active.count < width, let index = waiting.popLast() {
                // CRIU takes a number that is another group's while it looks for its own.
                if !groups[index].pseudoTerminals.isEmpty, active.contains(where: { !groups[$0.index].pseudoTerminals.isEmpty })
                {
                    waiting.append(index)
                    break
                }
                switch begin(index, terminals, &queues) {
                case .success(let started): active.append(started)
                case .failure(let result): results[index] = result.group
                }
            }
            step += 1
            XenStore.show(progress: "\(results.count) of \(groups.count) groups, step \(step)")
            if !active.isEmpty { RunningProgram.waitForOne(of: active.map(\.program), atMostSeconds: Self.progressSeconds) }
            for ended in active where ended.program.isOver {
                let result = end(ended)
                if result.outcome == .failed { queues.giveUp(groups[ended.index].name) }
                results[ended.index] = result
                width = widest
            }
            active.removeAll { results[$0.index] != nil }
        }
        return groups.indices.compactMap { results[$0] }
    }

    /// What became of a group that CRIU was not started for.
    private struct NotStarted: Error {
        let group: RestoreReport.Group
    }

    private func begin(_ index: Int, _ terminals: PseudoTerminals, _ queues: inout PosixQueues) -> Result<Active, NotStarted> {
        let group = groups[index]
        let reasons = reasons(of: group)
        guard group.verdict == "full" || group.verdict == "degraded" else {
            return .failure(NotStarted(group: result(group, .skipped, reasons.isEmpty ? ["refused"] : reasons)))
        }
        guard group.hasImages else {
            return .failure(NotStarted(group: result(group, .skipped, reasons.isEmpty ? ["nothing was saved of it"] : reasons)))
        }
        var restore = GroupRestore(group: group, directory: "\(directory)/\(group.name)")
        let begin = monotonicSeconds()
        do throws(AgentError) {
            try terminals.release(group)
            let program = try restore.start(queues: &queues)
            return .success(Active(index: index, restore: restore, program: program, begin: begin))
        } catch {
            return .failure(NotStarted(group: result(group, .failed, [error.description])))
        }
    }

    private func end(_ active: Active) -> RestoreReport.Group {
        let group = groups[active.index]
        do throws(AgentError) {
            try active.restore.finish(active.program)
            let moment = unixSeconds()
            let reasons =
                reasons(of: group) + [active.restore.connectionProblem].compactMap { $0 } + active.restore.problems
                + active.restore.completeCgroups()
            return result(group, .restored, reasons, monotonicSeconds() - active.begin, restoredAt: moment)
        } catch {
            return result(group, .failed, [error.description], monotonicSeconds() - active.begin)
        }
    }

    /// What the salvage has said against the group and its processes; of many processes the first eight that it said something of.
    private func reasons(of group: RecoveryManifest.Group) -> [String] {
        let processes = group.processes.filter { !$0.reasons.isEmpty }.prefix(8).map { process in
            "process \(process.pid) (\(process.command)): \(process.reasons.joined(separator: ", "))"
        }
        return group.reasons + processes
    }

    private func result(
        _ group: RecoveryManifest.Group, _ outcome: RestoreReport.Group.Outcome, _ reasons: [String], _ seconds: Double = 0,
        restoredAt: Double? = nil
    ) -> RestoreReport.Group {
        let reason = reasons.isEmpty ? nil : reasons.joined(separator: "; ")
        printError("group \(group.name): \(outcome.rawValue)\(reason.map { ": \($0)" } ?? "")")
        let log = outcome == .skipped ? nil : "groups/\(group.name)/restore.log"
        return RestoreReport.Group(
            name: group.name, outcome: outcome, reason: reason, seconds: seconds, restoredAt: restoredAt, log: log)
    }
}
