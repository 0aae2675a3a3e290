/// The one table of fields in which XenPR's images (A) may differ from those of a live `criu dump` (B), each with its reason. Whatever is not in here has to be
/// equal. `xenpr diff --reasons` prints it, and docs/diff.md is that print.
struct AllowedDifference: Sendable {
    let kind: ImageObject.Kind
    /// A field's path; `*` stands for anything.
    let field: String
    /// What of such differences is allowed, in words; nil: all.
    let when: String?
    let reason: String
    fileprivate let condition: @Sendable (ImageDifference) -> Bool

    fileprivate init(
        _ kind: ImageObject.Kind, _ field: String, _ reason: String, when: String? = nil,
        _ condition: @escaping @Sendable (ImageDifference) -> Bool = { _ in true }
    ) {
        self.kind = kind
        self.field = field
        self.when = when
        self.reason = reason
        self.condition = condition
    }

    static func reason(for difference: ImageDifference) -> String? {
        table.first {
            $0.kind == difference.object.kind && matches(difference.field, $0.field) && $0.condition(difference)
        }?.reason
    }

    /// Each piece between two stars is taken where it comes first, which finds a match when there is one.
    private static func matches(_ text: String, _ pattern: String) -> Bool {
        var pieces = pattern.utf8.split(separator: UInt8(ascii: "*"), omittingEmptySubsequences: false).map(Array.init)
        var rest = Array(text.utf8)[...]
        let first = pieces.removeFirst()
        guard rest.starts(with: first) else { return false }
        rest = rest.dropFirst(first.count)
        guard let last = pieces.popLast() else { return rest.isEmpty }
        for piece in pieces where !piece.isEmpty {
            guard let place = rest.indices.first(where: { rest[$0...].starts(with: piece) }) else { return false }
            rest = rest[(place + piece.count)...]
        }
        return rest.count >= last.count && rest.suffix(last.count).elementsEqual(last)
    }

    static let table: [AllowedDifference] = checkpoint + processes + threads + memory + files

    private static let checkpoint: [AllowedDifference] = [
        AllowedDifference(.checkpoint, "clocks.*", "the dump was taken before the crash, and time went on"),
        AllowedDifference(
            .checkpoint, "lsmtype", "no security profile is saved by either: a process that has one differs in lsm_profile"),
        AllowedDifference(
            .checkpoint, "dump_uptime", "CRIU notes it for incremental dumps", when: "only CRIU has it", missing: .a),
        AllowedDifference(.checkpoint, "pre_dump_mode", "of incremental dumps", when: "only CRIU has it", missing: .a),
        AllowedDifference(.checkpoint, "tcp_close", "an option of CRIU 4", when: "only CRIU has it", missing: .a),
        AllowedDifference(
            .checkpoint, "cgroup directory *", "CRIU writes a path of several names as one directory",
            when: "only XenPR has it", missing: .b),
    ]

    private static let processes: [AllowedDifference] = [
        AllowedDifference(
            .process, "*namespace", "left out means the namespace of whoever restores", when: "only CRIU has it: of the system"
        ) { $0.a == nil && $0.b == "of the system" },
        AllowedDifference(
            .process, "*.build_id[*", "CRIU can check an executable by its build id; XenPR has the size checked",
            when: "only CRIU has it", missing: .a),
        AllowedDifference(
            .process, "exe.flags", "nobody holds the description by which a program was started; only its access mode counts"
        ) { accessMode($0.a) == accessMode($0.b) },
        AllowedDifference(.process, "exe.pos", "nobody reads from the description by which a program was started"),
        AllowedDifference(
            .process, "loginuid", "left out means not set", when: "only CRIU has it: not set"
        ) { $0.a == nil && $0.b == "4294967295" },
        AllowedDifference(
            .process, "sigactions[*].compat_sigaction", "left out means 0", when: "only CRIU has it: 0"
        ) { $0.a == nil && $0.b == "0" },
        AllowedDifference(
            .process, "thp_disabled", "left out means 0", when: "only CRIU has it: 0"
        ) { $0.a == nil && $0.b == "0" },
        AllowedDifference(
            .process, "stop_signo", "known since CRIU 4; before, SIGSTOP is used", when: "only XenPR has it", missing: .b),
        AllowedDifference(
            .process, "timers.*.v*", "what remained of a timer went on between the dump and the crash"),
    ]

    private static let threads: [AllowedDifference] = [
        AllowedDifference(
            .thread, "thread_core.blk_sigset", "of a leader, CRIU has it with the process, where both are compared",
            when: "only XenPR has it", missing: .b),
        AllowedDifference(.thread, "thread_core.pdeath_sig", "left out means 0", when: "only XenPR has it: 0") {
            $0.a == "0" && $0.b == nil
        },
        AllowedDifference(.thread, "thread_core.sched_prio", "left out means 0", when: "only XenPR has it: 0") {
            $0.a == "0" && $0.b == nil
        },
        AllowedDifference(
            .thread, "thread_core.rseq_entry.*", "an address of 0 is no registration", when: "only CRIU has it: zeros"
        ) { $0.a == nil && ($0.b == "0x0" || $0.b == "0") },
        AllowedDifference(
            .thread, "thread_info.gpregs.orig_ax", "XenPR has put the registers into the form in which the call begins anew",
            when: "XenPR has -1"
        ) { $0.a == "0xffffffffffffffff" },
        AllowedDifference(
            .thread, "thread_info.tls[*", "segments that 64-bit programs do not use", when: "only CRIU has it: an empty one"
        ) { difference in
            difference.a == nil
                && ["0", "0x0", "1", "12", "13", "14"].contains(difference.b)
                && (difference.b != "1" || isSegmentDefault(difference.field))
        },
    ]

    /// What an empty segment has set.
    private static func isSegmentDefault(_ field: String) -> Bool {
        field.hasSuffix(".read_exec_only") || field.hasSuffix(".seg_not_present")
    }

    private static let memory: [AllowedDifference] = [
        AllowedDifference(.area, "file.pos", "nobody reads from the description by which a file was mapped"),
        AllowedDifference(
            .area, "file.flags",
            "CRIU opens a mapped file by what the area says, its fdflags (open_filemap of criu/files-reg.c)"),
        AllowedDifference(
            .area, "file.build_id[*", "CRIU can check a file by its build id; XenPR has the size checked",
            when: "only CRIU has it", missing: .a),
        AllowedDifference(
            .page, "contents", "a page that is not saved reads as zeros", when: "an anonymous page of zeros is left out by one"
        ) { [$0.a, $0.b].contains(nil) && ($0.a ?? $0.b) == "zeros (anonymous)" },
    ]

    private static let files: [AllowedDifference] = [
        AllowedDifference(
            .file, "epfd.target *.inode", "CRIU finds duplicates of a watched descriptor by it; XenPR gives numbers that exist",
            when: "only CRIU has it", missing: .a),
        AllowedDifference(
            .file, "*.f_handle.*", "XenPR gives the path by which CRIU finds what is watched, and no handle",
            when: "XenPR has zeros"
        ) { ["0", "0x0"].contains($0.a) },
        AllowedDifference(
            .file, "*.ns_id", "all are in the one network namespace of the system", when: "only CRIU has it", missing: .a),
        AllowedDifference(.file, "*.opts.so_*", "left out means 0", when: "only CRIU has it: 0") { $0.a == nil && $0.b == "0" },
        AllowedDifference(
            .file, "isk.ip_opts.freebind", "left out means 0", when: "only XenPR has it: 0"
        ) { $0.a == "0" && $0.b == nil },
        AllowedDifference(
            .file, "isk.opts.tcp_keep*", "left out means the system's own", when: "only CRIU has it: the system's own"
        ) {
            $0.a == nil && ["9", "7200", "75"].contains($0.b)
        },
        AllowedDifference(
            .file, "psk.fanout",
            "the kernel does not tell CRIU the flags of a fanout group (pdiag_put_fanout of net/packet/diag.c)",
            when: "CRIU has no flags"
        ) { difference in
            func number(_ text: String?) -> UInt32? { text.flatMap { UInt32($0.dropFirst(2), radix: 16) } }
            return number(difference.a).map { $0 & 0xff_ffff } == number(difference.b)
        },
        AllowedDifference(
            .file, "reg.pos", "XenPR has CRIU not seek in a character device, which may refuse it", when: "XenPR has -1"
        ) { $0.a == "-1" },
        AllowedDifference(
            .file, "reg.mode", "CRIU would refuse a file whose mode was changed since; XenPR leaves that to the file catch-up",
            when: "only CRIU has it", missing: .a),
        AllowedDifference(
            .file, "reg.size", "others may go on writing the file; the file catch-up gives it the size that it had",
            when: "only CRIU has it", missing: .a),
        AllowedDifference(
            .file, "reg.build_id[*", "CRIU can check a file by its build id", when: "only CRIU has it", missing: .a),
        AllowedDifference(.file, "removed.atim.*", "CRIU's own reading of the file has changed it"),
        AllowedDifference(
            .file, "removed.size", "only of files that are written in chunks", when: "only XenPR has it", missing: .b),
        AllowedDifference(
            .connection, "snd_wl1",
            "CRIU lets a connection go with a window probe, which sets it one lower (tcp_send_window_probe of net/ipv4/tcp_output.c)",
            when: "XenPR has one less"
        ) { $0.a.flatMap { UInt32($0) }.map { $0 &+ 1 } == $0.b.flatMap { UInt32($0) } },
        AllowedDifference(.connection, "timestamp", "the clock of TCP time stamps went on between the dump and the crash"),
        AllowedDifference(.file, "tfd.v*", "what remained of a timer went on between the dump and the crash"),
    ]

    /// O_ACCMODE of flags that are shown in octal.
    private static func accessMode(_ flags: String?) -> UInt64? { flags.flatMap { UInt64($0, radix: 8) }.map { $0 & 3 } }

    fileprivate enum Side { case a, b }

    fileprivate init(_ kind: ImageObject.Kind, _ field: String, _ reason: String, when: String, missing: Side) {
        self.init(kind, field, reason, when: when) { (missing == .a ? $0.a : $0.b) == nil }
    }
}

/// The table as a document.
public enum AllowedDifferencesDocument {
    public static var text: String {
        let rows = AllowedDifference.table.map { entry in
            "| \(entry.kind.rawValue) | `\(entry.field)` | \(entry.when ?? "always") | \(entry.reason) |"
        }
        return """
            # Where our images may differ from CRIU's

            Made by `make diff-table` from `Sources/ImageDiff/AllowedDifference.swift`. Each field of our images has to equal that of a live `criu dump` of the
            same process, taken just before the panic, but for these.

            | object | field | when | reason |
            | --- | --- | --- | --- |
            \(rows.joined(separator: "\n"))

            """
    }
}
