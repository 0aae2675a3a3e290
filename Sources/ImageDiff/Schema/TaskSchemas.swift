/// images/core.proto, core-x86.proto, creds.proto, timer.proto, sa.proto, siginfo.proto, rlimit.proto, rseq.proto.
extension MessageSchema {
    private static let registers = MessageSchema(
        [
            "r15", "r14", "r13", "r12", "bp", "bx", "r11", "r10", "r9", "r8", "ax", "cx", "dx", "si", "di", "orig_ax", "ip",
            "cs",
            "flags", "sp", "ss", "fs_base", "gs_base", "ds", "es", "fs", "gs",
        ].enumerated().map { .hex(UInt32($0 + 1), $1) } + [.number(28, "mode")])

    private static let extendedState = MessageSchema([
        .hex(1, "xstate_bv"), .hex(2, "ymmh_space").repeated, .hex(3, "bndreg_state").repeated,
        .hex(4, "bndcsr_state").repeated,
        .hex(5, "opmask_reg").repeated, .hex(6, "zmm_upper").repeated, .hex(7, "hi16_zmm").repeated, .hex(8, "pkru").repeated,
    ])

    private static let floatingPoint = MessageSchema([
        .hex(1, "cwd"), .hex(2, "swd"), .hex(3, "twd"), .hex(4, "fop"), .hex(5, "rip"), .hex(6, "rdp"), .hex(7, "mxcsr"),
        .hex(8, "mxcsr_mask"), .hex(9, "st_space").repeated, .hex(10, "xmm_space").repeated, .hex(11, "padding").repeated,
        .message(13, "xsave", extendedState),
    ])

    private static let segment = MessageSchema([
        .number(1, "entry_number"), .hex(2, "base_addr"), .hex(3, "limit"), .number(4, "seg_32bit"), .number(5, "contents_h"),
        .number(6, "contents_l"), .number(7, "read_exec_only"), .number(8, "limit_in_pages"), .number(9, "seg_not_present"),
        .number(10, "usable"),
    ])

    static let threadInformation = MessageSchema([
        .hex(1, "clear_tid_addr"), .message(2, "gpregs", registers), .message(3, "fpregs", floatingPoint),
        .message(4, "tls", segment).repeated,
    ])

    private static let credentials = MessageSchema([
        .number(1, "uid"), .number(2, "gid"), .number(3, "euid"), .number(4, "egid"), .number(5, "suid"), .number(6, "sgid"),
        .number(7, "fsuid"), .number(8, "fsgid"), .hex(9, "cap_inh").repeated, .hex(10, "cap_prm").repeated,
        .hex(11, "cap_eff").repeated, .hex(12, "cap_bnd").repeated, .hex(13, "secbits"), .number(14, "groups").repeated,
        .text(15, "lsm_profile"), .text(16, "lsm_sockcreate"), .bytes(17, "apparmor_data"), .number(18, "no_new_privs"),
        .hex(19, "cap_amb").repeated,
    ])

    private static let intervalTimer = MessageSchema([
        .number(1, "isec"), .number(2, "iusec"), .number(3, "vsec"), .number(4, "vusec"),
    ])

    private static let posixTimer = MessageSchema([
        .number(1, "it_id"), .number(2, "clock_id"), .number(3, "si_signo"), .number(4, "it_sigev_notify"),
        .hex(5, "sival_ptr"),
        .number(6, "overrun"), .number(7, "isec"), .number(8, "insec"), .number(9, "vsec"), .number(10, "vnsec"),
        .signed(11, "notify_thread_id"),
    ])

    private static let timers = MessageSchema([
        .message(1, "real", intervalTimer), .message(2, "virt", intervalTimer), .message(3, "prof", intervalTimer),
        .message(4, "posix", posixTimer).repeated,
    ])

    private static let signals = MessageSchema([.message(1, "signals", MessageSchema([.bytes(1, "siginfo")])).repeated])

    private static let limits = MessageSchema([
        .message(1, "rlimits", MessageSchema([.hex(1, "cur"), .hex(2, "max")])).repeated
    ])

    private static let action = MessageSchema([
        .hex(1, "sigaction"), .hex(2, "flags"), .hex(3, "restorer"), .hex(4, "mask"), .number(5, "compat_sigaction"),
        .hex(6, "mask_extended"),
    ])

    static let task = MessageSchema([
        .number(1, "task_state"), .hex(2, "exit_code"), .hex(3, "personality"), .hex(4, "flags"), .hex(5, "blk_sigset"),
        .text(6, "comm"), .message(7, "timers", timers), .message(8, "rlimits", limits), .number(9, "cg_set"),
        .message(10, "signals_s", signals), .number(11, "old_seccomp_mode"), .number(12, "old_seccomp_filter"),
        .number(13, "loginuid"), .signed(14, "oom_score_adj"), .message(15, "sigactions", action).repeated,
        .number(18, "child_subreaper"), .hex(20, "blk_sigset_extended"), .number(21, "stop_signo"),
    ])

    static let thread = MessageSchema([
        .hex(1, "futex_rla"), .number(2, "futex_rla_len"), .zigzag(3, "sched_nice"), .number(4, "sched_policy"),
        .number(5, "sched_prio"), .hex(6, "blk_sigset"),
        .message(7, "sas", MessageSchema([.hex(1, "ss_sp"), .hex(2, "ss_size"), .hex(3, "ss_flags")])),
        .number(8, "pdeath_sig"), .message(9, "signals_p", signals), .message(10, "creds", credentials),
        .number(11, "seccomp_mode"), .number(12, "seccomp_filter"), .text(13, "comm"), .hex(14, "blk_sigset_extended"),
        .message(
            15, "rseq_entry",
            MessageSchema([.hex(1, "rseq_abi_pointer"), .number(2, "rseq_abi_size"), .hex(3, "signature"), .hex(4, "rseq_cs")])),
    ])

    static let core = MessageSchema([
        .number(1, "mtype"), .message(2, "thread_info", threadInformation), .message(3, "tc", task),
        .message(5, "thread_core", thread),
    ])

    static let processTree = MessageSchema([
        .number(1, "pid"), .number(2, "ppid"), .number(3, "pgid"), .number(4, "sid"), .number(5, "threads").repeated,
    ])

    static let filesystem = MessageSchema([.number(1, "cwd_id"), .number(2, "root_id"), .octal(3, "umask")])

    static let inventory = MessageSchema([
        .number(1, "img_version"), .number(2, "fdinfo_per_id"), .number(4, "ns_per_id"), .number(5, "root_cg_set"),
        .number(6, "lsmtype"),
        .number(8, "dump_uptime"), .number(9, "pre_dump_mode"), .number(10, "tcp_close"), .number(11, "network_lock_method"),
    ])

    static let timeNamespace = MessageSchema([
        .message(1, "monotonic", MessageSchema([.number(1, "tv_sec"), .number(2, "tv_nsec")])),
        .message(2, "boottime", MessageSchema([.number(1, "tv_sec"), .number(2, "tv_nsec")])),
    ])
}
