import ProcessModel

/// `seccomp_entry` of images/seccomp.proto, and what each thread's core says of it.
///
/// CRIU installs a thread's filters from the one that its core names, the oldest, to the newest; `prev` leads to the next newer one.
struct SeccompImage: Sendable {
    /// `seccomp_mode` and `seccomp_filter` of `thread_core_entry`.
    enum Mode: Sendable, Hashable {
        case strict
        case filters(first: UInt32)
    }

    /// SECCOMP_FILTER_FLAG_TSYNC and SECCOMP_FILTER_FLAG_LOG.
    private static let synchronizes: UInt32 = 1
    private static let logs: UInt32 = 2

    private(set) var filters: [ProtobufMessage] = []
    private var modes: [Int32: Mode] = [:]

    init(_ processes: [DeadProcess]) {
        for process in processes {
            guard let leader = process.threads.first else { continue }
            // A filter that all threads have is installed in all by the leader: so they have one, as a later TSYNC needs.
            let isCommon = Self.sharesFilters(process)
            for thread in isCommon ? [leader] : process.threads { add(thread, synchronizes: isCommon) }
        }
    }

    /// nil: off, or installed by the leader.
    func mode(of thread: DeadThread) -> Mode? { modes[thread.tid] }

    var message: ProtobufMessage {
        ProtobufMessage { entry in for filter in filters { entry.message(1, filter) } }
    }

    /// Whether all of several threads have the same filters, not merely equal ones.
    private static func sharesFilters(_ process: DeadProcess) -> Bool {
        guard process.threads.count > 1, case .filters = process.threads.first?.seccomp else { return false }
        return process.threads.allSatisfy { $0.seccomp == process.threads.first?.seccomp }
    }

    /// What a thread had and does not get exactly.
    static func concern(about process: DeadProcess) -> String? {
        guard !sharesFilters(process) else { return nil }
        var holders: [Int: Int] = [:]
        for thread in process.threads {
            guard case .filters(let filters) = thread.seccomp else { continue }
            for filter in filters { holders[filter.number, default: 0] += 1 }
        }
        return holders.values.contains { $0 > 1 }
            ? "some of its threads shared seccomp filters; each has its own now, and a later SECCOMP_FILTER_FLAG_TSYNC fails"
            : nil
    }

    private mutating func add(_ thread: DeadThread, synchronizes: Bool) {
        switch thread.seccomp {
        case .off, .other: break
        case .strict: modes[thread.tid] = .strict
        case .filters(let chain):
            for (index, filter) in chain.reversed().enumerated() {
                let previous = index == 0 ? nil : UInt32(clamping: filters.count - 1)
                filters.append(
                    ProtobufMessage { entry in
                        entry.data(1, (filter.program ?? []).flatMap(\.bytes))
                        if let previous { entry.unsigned(2, previous) }
                        entry.unsigned(3, (synchronizes ? Self.synchronizes : 0) | (filter.isLogged ? Self.logs : 0))
                    })
            }
            modes[thread.tid] = .filters(first: UInt32(clamping: filters.count - 1))
        }
    }
}
