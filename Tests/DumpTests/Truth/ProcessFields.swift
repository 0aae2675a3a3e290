import ProcessModel

/// What /proc says of a process as a whole and the model of the dead one knows too.
enum ProcessFields {
    typealias Field = ComparedField<ModelledProcess>

    static let all: [Field] = identity + signals + memory + environment + limits

    private static let identity: [Field] = [
        Field("Name", recorded: { $0.field("Name") }, modelled: { $0.process.command.escaped("\n\\") }),
        Field("Tgid", recorded: { $0.field("Tgid") }, modelled: { "\($0.process.pid)" }),
        Field("PPid", recorded: { $0.field("PPid") }, modelled: { "\($0.process.parentPID)" }),
        Field("pgrp", recorded: { $0.stat(5) }, modelled: { "\($0.process.processGroupID)" }),
        Field("session", recorded: { $0.stat(6) }, modelled: { "\($0.process.sessionID)" }),
        Field(
            "stopped or dead", stillOnly: true, recorded: { $0.stat(3) },
            modelled: {
                switch $0.process.state {
                case .running: "runs"
                case .stopped: "T"
                case .zombie: "Z"
                }
            }),
        Field("flags", stillOnly: true, recorded: { $0.stat(9) }, modelled: { "\($0.process.flags)" }),
        Field(
            "exit_signal", recorded: { $0.stat(38) }, modelled: { $0.isZombie ? nil : "\($0.process.exitSignal)" }),
        Field("num_threads", recorded: { $0.stat(20) }, modelled: { "\(max(1, $0.process.threads.count))" }),
        Field("cgroup", recorded: { $0.value("cgroup")?.components("0::") }, modelled: { "\($0.process.cgroupPath)" }),
        Field("oom_score_adj", recorded: { $0.value("oom_score_adj") }, modelled: { "\($0.process.oomScoreAdjustment)" }),
        Field(
            "loginuid", recorded: { $0.value("loginuid") },
            modelled: { $0.process.loginUID.map { "\($0)" } ?? "4294967295" }),
        Field(
            "personality", recorded: { $0.value("personality") },
            modelled: { String(hex16(UInt64($0.process.personality)).suffix(8)) }),
        // Of the leader: /proc has no such file for threads.
        Field(
            "timerslack_ns", recorded: { $0.value("timerslack_ns") },
            modelled: { $0.leader.map { "\($0.scheduling.timerSlackNanoseconds)" } }),
        Field("tty_nr", recorded: { $0.stat(7) }, modelled: terminalNumber),
    ]

    /// `new_encode_dev` of the controlling terminal; only pseudo terminals are numbered by the model.
    private static func terminalNumber(_ subject: ModelledProcess) -> String? {
        guard let id = subject.process.controllingTerminal else { return "0" }
        guard case .pseudo(let index) = subject.group.terminals[id]?.device else { return nil }
        return "\(136 << 8 | index & 0xff | (index & ~0xff) << 12)"
    }

    private static let signals: [Field] = [
        Field("ShdPnd", stillOnly: true, recorded: { $0.field("ShdPnd") }, modelled: { hex16(set($0.process.pendingSignals)) }),
        Field(
            "SigIgn", recorded: { $0.field("SigIgn") },
            modelled: { subject in subject.isZombie ? nil : hex16(actions(subject) { $0.handler == 1 }) }),
        Field(
            "SigCgt", recorded: { $0.field("SigCgt") },
            modelled: { subject in subject.isZombie ? nil : hex16(actions(subject) { $0.handler > 1 }) }),
    ]

    static func set(_ signals: [PendingSignal]) -> UInt64 {
        signals.reduce(0) { $0 | ($1.signal > 0 && $1.signal <= 64 ? 1 << UInt64($1.signal - 1) : 0) }
    }

    private static func actions(_ subject: ModelledProcess, _ condition: (SignalAction) -> Bool) -> UInt64 {
        subject.actions.enumerated().reduce(0) { $0 | (condition($1.element) ? 1 << UInt64($1.offset) : 0) }
    }

    private static func address(
        _ name: String, _ number: Int, stillOnly: Bool = false, _ value: @escaping @Sendable (AddressSpace) -> UInt64
    )
        -> Field
    {
        Field(
            name, stillOnly: stillOnly, recorded: { $0.stat(number) },
            modelled: { subject in "\(subject.addressSpace.map(value) ?? 0)" })
    }

    private static let memory: [Field] = [
        address("start_code", 26, \.startCode.rawValue), address("end_code", 27, \.endCode.rawValue),
        address("start_stack", 28, \.startStack.rawValue), address("start_data", 45, \.startData.rawValue),
        address("end_data", 46, \.endData.rawValue), address("start_brk", 47, \.startBreak.rawValue),
        address("arg_start", 48, \.argumentsStart.rawValue), address("arg_end", 49, \.argumentsEnd.rawValue),
        address("env_start", 50, \.environmentStart.rawValue), address("env_end", 51, \.environmentEnd.rawValue),
        Field(
            "THP_enabled", recorded: { $0.field("THP_enabled") },
            modelled: { $0.addressSpace.map { $0.transparentHugePagesDisabled ? "0" : "1" } ?? "0" }),
        Field(
            "auxv", recorded: { auxiliary($0.bytes("auxv") ?? []) },
            modelled: { text(auxiliary: $0.addressSpace?.auxiliaryVector ?? []) }),
    ]

    private static func auxiliary(_ bytes: [UInt8]) -> String {
        text(
            auxiliary: stride(from: 0, to: bytes.count - 7, by: 8).map { start in
                (0..<8).reduce(0) { $0 | UInt64(bytes[start + $1]) << UInt64(8 * $1) }
            })
    }

    /// Up to AT_NULL.
    private static func text(auxiliary words: [UInt64]) -> String {
        var result: [String] = []
        for index in stride(from: 0, to: words.count - 1, by: 2) {
            if words[index] == 0 { break }
            result.append("\(words[index])=\(String(words[index + 1], radix: 16))")
        }
        return result.joined(separator: " ")
    }

    private static func link(_ name: String, _ path: @escaping @Sendable (ModelledProcess) -> FileNode?) -> Field {
        Field(
            name, recorded: { $0.links[name] }, modelled: { path($0).map { FileText.path($0) } })
    }

    private static func namespace(_ name: String, _ value: @escaping @Sendable (Namespaces) -> UInt32) -> Field {
        Field(
            "ns/\(name)", recorded: { $0.links["ns/\(name)"] },
            modelled: { subject in
                let number = value(subject.process.namespaces)
                return subject.isZombie ? nil : "\(name):[\(number)]"
            })
    }

    private static let environment: [Field] = [
        link("cwd") { $0.filesystem?.workingDirectory }, link("root") { $0.filesystem?.root },
        link("exe") { subject in
            guard case .path(let node)? = subject.addressSpace?.executable.flatMap({ subject.group.openFiles[$0] })?.kind else {
                return nil
            }
            return node
        },
        Field(
            "Umask", recorded: { $0.field("Umask") },
            modelled: { $0.filesystem.map { "0" + octal3($0.umask) } }),
        namespace("pid", \.pid), namespace("net", \.network), namespace("ipc", \.ipc), namespace("uts", \.uts),
        namespace("mnt", \.mount), namespace("user", \.user), namespace("cgroup", \.cgroup), namespace("time", \.time),
        Field("timers", stillOnly: true, recorded: { $0.text("timers") }, modelled: timers),
    ]

    private static func octal3(_ value: UInt32) -> String {
        let text = String(value, radix: 8)
        return String(repeating: "0", count: max(0, 3 - text.utf8.count)) + text
    }

    /// As show_timer of fs/proc/base.c prints them.
    private static func timers(_ subject: ModelledProcess) -> String {
        subject.process.posixTimers.map { timer in
            // SIGEV_THREAD_ID 4 leads to one thread.
            let isThread = timer.threadID != nil
            let kinds: [Int32: String] = [0: "signal", 1: "none", 2: "thread"]
            let kind = kinds[timer.notification & ~4] ?? "?"
            return """
                ID: \(timer.id)
                signal: \(timer.signal)/\(hex16(timer.value))
                notify: \(kind)/\(isThread ? "tid" : "pid").\(timer.threadID ?? subject.process.pid)
                ClockID: \(timer.clock)

                """
        }.joined()
    }

    private static let limitNames = [
        "cpu time", "file size", "data size", "stack size", "core file size", "resident set", "processes", "open files",
        "locked memory", "address space", "file locks", "pending signals", "msgqueue size", "nice priority",
        "realtime priority",
        "realtime timeout",
    ]

    private static let limits: [Field] = limitNames.enumerated().map { index, name in
        Field(
            "limit of \(name)",
            recorded: { record in
                guard let line = record.lines("limits")?.first(where: { $0.hasPrefix("Max \(name) ") }) else { return nil }
                return line.dropFirst(4 + name.utf8.count).split(separator: " ").prefix(2).joined(separator: " ")
            },
            modelled: { subject in
                guard subject.process.resourceLimits.indices.contains(index) else { return nil }
                let limit = subject.process.resourceLimits[index]
                return [limit.current, limit.maximum].map { $0 == .max ? "unlimited" : "\($0)" }.joined(separator: " ")
            })
    }
}

extension String {
    /// What follows a prefix; nil when it does not begin so.
    fileprivate func components(_ prefix: String) -> String? { hasPrefix(prefix) ? String(dropFirst(prefix.count)) : nil }
}

/// What /proc says of one thread.
enum ThreadFields {
    typealias Field = ComparedField<DeadThread>

    static let all: [Field] = [
        Field("Name", recorded: { $0.field("Name") }, modelled: { $0.command.escaped("\n\\") }),
        Field("Pid", recorded: { $0.field("Pid") }, modelled: { "\($0.tid)" }),
        ids("Uid", \.uid, \.effectiveUID, \.savedUID, \.filesystemUID),
        ids("Gid", \.gid, \.effectiveGID, \.savedGID, \.filesystemGID),
        Field(
            "Groups", recorded: { $0.field("Groups") },
            modelled: { $0.credentials.groups.map { "\($0)" }.joined(separator: " ") }),
        capabilities("CapInh", \.inheritable), capabilities("CapPrm", \.permitted), capabilities("CapEff", \.effective),
        capabilities("CapBnd", \.bounding), capabilities("CapAmb", \.ambient),
        Field("NoNewPrivs", recorded: { $0.field("NoNewPrivs") }, modelled: { $0.credentials.noNewPrivileges ? "1" : "0" }),
        Field(
            "Seccomp", recorded: { $0.field("Seccomp") },
            modelled: {
                switch $0.seccomp {
                case .off: "0"
                case .strict: "1"
                case .filters: "2"
                case .other(let mode): "\(mode)"
                }
            }),
        Field(
            "Seccomp_filters", recorded: { $0.field("Seccomp_filters") },
            modelled: { if case .filters(let filters) = $0.seccomp { "\(filters.count)" } else { "0" } }),
        Field(
            "SigPnd", stillOnly: true, recorded: { $0.field("SigPnd") },
            modelled: { hex16(ProcessFields.set($0.pendingSignals)) }),
        Field("SigBlk", stillOnly: true, recorded: { $0.field("SigBlk") }, modelled: { hex16($0.signalMask) }),
        Field("nice", recorded: { $0.stat(19) }, modelled: { "\($0.scheduling.nice)" }),
        Field("rt_priority", recorded: { $0.stat(40) }, modelled: { "\($0.scheduling.realtimePriority)" }),
        Field("policy", recorded: { $0.stat(41) }, modelled: { "\($0.scheduling.policy)" }),
        Field(
            "Cpus_allowed", recorded: { $0.field("Cpus_allowed").map(word) },
            modelled: { thread in
                let limit = thread.scheduling.possibleCPUs
                let mask = limit >= 64 ? UInt64.max : (1 << UInt64(limit)) - 1
                return thread.scheduling.affinity.first.map { String($0 & mask, radix: 16) }
            }),
    ]

    private static func ids(_ name: String, _ values: @Sendable (Credentials) -> UInt32...) -> Field {
        Field(
            name, recorded: { $0.field(name) },
            modelled: { thread in values.map { "\($0(thread.credentials))" }.joined(separator: " ") })
    }

    private static func capabilities(_ name: String, _ value: @escaping @Sendable (Credentials) -> UInt64) -> Field {
        Field(name, recorded: { $0.field(name) }, modelled: { hex16(value($0.credentials)) })
    }

    /// The lowest 64 CPUs of a mask, without leading zeros: "3", "00000000,00000003".
    private static func word(_ mask: String) -> String {
        let digits = mask.filter { $0 != "," }.suffix(16)
        return String(UInt64(digits, radix: 16) ?? 0, radix: 16)
    }
}
