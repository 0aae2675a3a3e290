/// images/fdinfo.proto and what it includes for each kind of open file, file-lock.proto, ghost-file.proto, tty.proto.
extension MessageSchema {
    private static let owner = MessageSchema([
        .number(1, "uid"), .number(2, "euid"), .number(3, "signum"), .number(4, "pid_type"), .number(5, "pid"),
    ])

    private static let socketOptions = MessageSchema([
        .number(1, "so_sndbuf"), .number(2, "so_rcvbuf"), .number(3, "so_snd_tmo_sec"), .number(4, "so_snd_tmo_usec"),
        .number(5, "so_rcv_tmo_sec"), .number(6, "so_rcv_tmo_usec"), .number(7, "reuseaddr"), .number(8, "so_priority"),
        .number(9, "so_rcvlowat"), .number(10, "so_mark"), .number(11, "so_passcred"), .number(12, "so_passsec"),
        .number(13, "so_dontroute"), .number(14, "so_no_check"), .text(15, "so_bound_dev"), .hex(16, "so_filter").repeated,
        .number(17, "so_reuseport"), .number(18, "so_broadcast"), .number(19, "so_keepalive"), .number(20, "tcp_keepcnt"),
        .number(21, "tcp_keepidle"), .number(22, "tcp_keepintvl"), .number(23, "so_oobinline"), .number(24, "so_linger"),
        .number(25, "so_buf_lock"),
    ])

    static let regularFile = MessageSchema([
        .number(1, "id"), .octal(2, "flags"), .signed(3, "pos"), .message(5, "fown", owner), .text(6, "name"),
        .zigzag(7, "mnt_id"),
        .number(8, "size"), .number(9, "ext"), .octal(10, "mode"), .hex(11, "build_id").repeated, .hex(12, "checksum"),
        .number(13, "checksum_config"), .number(14, "checksum_parameter"),
    ])

    private static let inetSocket = MessageSchema([
        .number(1, "id"), .number(2, "ino"), .number(3, "family"), .number(4, "type"), .number(5, "proto"), .number(6, "state"),
        .number(7, "src_port"), .number(8, "dst_port"), .octal(9, "flags"), .number(10, "backlog"),
        .hex(11, "src_addr").repeated,
        .hex(12, "dst_addr").repeated, .message(13, "fown", owner), .message(14, "opts", socketOptions), .number(15, "v6only"),
        .message(
            16, "ip_opts",
            MessageSchema([
                .number(1, "freebind"),
                .message(
                    4, "raw",
                    MessageSchema([
                        .number(1, "hdrincl"), .number(2, "nodefrag"), .number(3, "checksum"), .hex(4, "icmpv_filter").repeated,
                    ])),
            ])),
        .text(17, "ifname"), .number(18, "ns_id"), .number(19, "shutdown"),
    ])

    private static let unixSocket = MessageSchema([
        .number(1, "id"), .number(2, "ino"), .number(3, "type"), .number(4, "state"), .octal(5, "flags"), .hex(6, "uflags"),
        .number(7, "backlog"), .number(8, "peer"), .message(9, "fown", owner), .message(10, "opts", socketOptions),
        .bytes(11, "name"),
        .number(12, "shutdown"),
        .message(13, "file_perms", MessageSchema([.octal(1, "mode"), .number(2, "uid"), .number(3, "gid")])),
        .text(14, "name_dir"),
        .number(15, "deleted"), .number(16, "ns_id"), .zigzag(17, "mnt_id"),
    ])

    private static let netlinkSocket = MessageSchema([
        .number(1, "id"), .number(2, "ino"), .number(3, "protocol"), .number(4, "state"), .octal(6, "flags"),
        .number(7, "portid"),
        .hex(8, "groups").repeated, .number(9, "dst_portid"), .hex(10, "dst_group"), .message(11, "fown", owner),
        .message(12, "opts", socketOptions), .number(13, "ns_id"),
    ])

    private static let packetRing = MessageSchema([
        .number(1, "block_size"), .number(2, "block_nr"), .number(3, "frame_size"), .number(4, "frame_nr"),
        .number(5, "retire_tmo"), .number(6, "sizeof_priv"), .hex(7, "features"),
    ])

    private static let packetSocket = MessageSchema([
        .number(1, "id"), .number(2, "type"), .hex(3, "protocol"), .octal(4, "flags"), .number(5, "ifindex"),
        .message(6, "fown", owner), .message(7, "opts", socketOptions), .number(8, "version"), .number(9, "reserve"),
        .number(10, "aux_data"), .number(11, "orig_dev"), .number(12, "vnet_hdr"), .number(13, "loss"),
        .number(14, "timestamp"), .number(15, "copy_thresh"),
        .message(16, "mclist", MessageSchema([.number(1, "index"), .number(2, "type"), .bytes(3, "addr")])).repeated,
        .hex(17, "fanout"), .message(18, "rx_ring", packetRing), .message(19, "tx_ring", packetRing), .number(20, "ns_id"),
    ])

    private static let epollTarget = MessageSchema([
        .number(1, "id"), .number(2, "tfd"), .hex(3, "events"), .hex(4, "data"), .hex(5, "dev"), .number(6, "inode"),
        .number(7, "pos"),
    ])

    private static let fileHandle = MessageSchema([
        .number(1, "bytes"), .number(2, "type"), .hex(3, "handle").repeated, .text(4, "path"), .number(5, "mnt_id"),
    ])

    private static let mark = MessageSchema([
        .number(1, "id"), .number(2, "type"), .hex(3, "mflags"), .hex(4, "mask"), .hex(5, "ignored_mask"), .hex(6, "s_dev"),
        .message(7, "ie", MessageSchema([.number(1, "i_ino"), .message(2, "f_handle", fileHandle)])),
        .message(8, "me", MessageSchema([.number(1, "mnt_id"), .text(2, "path")])),
    ])

    private static let watch = MessageSchema([
        .number(1, "id"), .number(2, "i_ino"), .hex(3, "mask"), .hex(4, "ignored_mask"), .hex(5, "s_dev"), .number(6, "wd"),
        .message(7, "f_handle", fileHandle),
    ])

    static let pipe = MessageSchema([.number(1, "id"), .number(2, "pipe_id"), .octal(3, "flags"), .message(4, "fown", owner)])

    static let file = MessageSchema([
        .number(1, "type"), .number(2, "id"), .message(3, "reg", regularFile), .message(4, "isk", inetSocket),
        .message(6, "psk", packetSocket), .message(7, "nlsk", netlinkSocket),
        .message(
            8, "efd", MessageSchema([.number(1, "id"), .octal(2, "flags"), .message(3, "fown", owner), .number(4, "counter")])),
        .message(
            9, "epfd",
            MessageSchema([
                .number(1, "id"), .octal(2, "flags"), .message(3, "fown", owner), .message(4, "tfd", epollTarget).repeated,
            ])),
        .message(
            10, "sgfd", MessageSchema([.number(1, "id"), .octal(2, "flags"), .message(3, "fown", owner), .hex(4, "sigmask")])),
        .message(
            12, "tfd",
            MessageSchema([
                .number(1, "id"), .octal(2, "flags"), .message(3, "fown", owner), .number(4, "clockid"), .number(5, "ticks"),
                .hex(6, "settime_flags"), .number(7, "vsec"), .number(8, "vnsec"), .number(9, "isec"), .number(10, "insec"),
            ])),
        .message(
            13, "ify",
            MessageSchema([.number(1, "id"), .octal(2, "flags"), .message(4, "fown", owner), .message(5, "wd", watch).repeated])
        ),
        .message(
            14, "ffy",
            MessageSchema([
                .number(1, "id"), .octal(2, "flags"), .message(3, "fown", owner), .hex(4, "faflags"), .hex(5, "evflags"),
                .message(6, "mark", mark).repeated,
            ])),
        .message(16, "usk", unixSocket),
        .message(17, "fifo", MessageSchema([.number(1, "id"), .number(2, "pipe_id"), .number(3, "regf_id")])),
        .message(18, "pipe", pipe),
        .message(
            19, "tty",
            MessageSchema([
                .number(1, "id"), .number(2, "tty_info_id"), .octal(3, "flags"), .message(4, "fown", owner),
                .number(6, "regf_id"),
            ])),
        .message(
            20, "memfd",
            MessageSchema([
                .number(1, "id"), .octal(2, "flags"), .number(3, "pos"), .message(4, "fown", owner), .number(5, "inode_id"),
            ])),
    ])

    static let descriptor = MessageSchema([
        .number(1, "id"), .hex(2, "flags"), .number(3, "type"), .number(4, "fd"), .text(5, "xattr_security_selinux"),
    ])

    private static let terminalSettings = MessageSchema([
        .hex(1, "c_iflag"), .hex(2, "c_oflag"), .hex(3, "c_cflag"), .hex(4, "c_lflag"), .number(5, "c_line"),
        .number(6, "c_ispeed"),
        .number(7, "c_ospeed"), .hex(8, "c_cc").repeated,
    ])

    static let terminalInformation = MessageSchema([
        .number(1, "id"), .number(2, "type"), .number(3, "locked"), .number(4, "exclusive"), .number(5, "packet_mode"),
        .number(6, "sid"),
        .number(7, "pgrp"), .hex(8, "rdev"), .message(9, "termios", terminalSettings),
        .message(10, "termios_locked", terminalSettings),
        .message(
            11, "winsize",
            MessageSchema([.number(1, "ws_row"), .number(2, "ws_col"), .number(3, "ws_xpixel"), .number(4, "ws_ypixel")])),
        .message(12, "pty", MessageSchema([.number(1, "index")])), .hex(13, "dev"), .number(14, "uid"), .number(15, "gid"),
    ])

    static let fileLock = MessageSchema([
        .number(1, "flag"), .number(2, "type"), .signed(3, "pid"), .signed(4, "fd"), .signed(5, "start"), .signed(6, "len"),
    ])

    private static let time = MessageSchema([.number(1, "tv_sec"), .number(2, "tv_usec")])

    static let ghostFile = MessageSchema([
        .number(1, "uid"), .number(2, "gid"), .octal(3, "mode"), .hex(4, "dev"), .number(5, "ino"), .hex(6, "rdev"),
        .message(7, "atim", time), .message(8, "mtim", time), .number(9, "chunks"), .number(10, "size"),
        .text(11, "symlnk_target"),
    ])

    static let tcpStream = MessageSchema([
        .number(1, "inq_len"), .number(2, "inq_seq"), .number(3, "outq_len"), .number(4, "outq_seq"), .hex(5, "opt_mask"),
        .number(6, "snd_wscale"), .number(7, "mss_clamp"), .number(8, "rcv_wscale"), .number(9, "timestamp"),
        .number(10, "cork"),
        .number(11, "nodelay"), .number(12, "unsq_len"), .number(13, "snd_wl1"), .number(14, "snd_wnd"),
        .number(15, "max_window"),
        .number(16, "rcv_wnd"), .number(17, "rcv_wup"),
    ])
}
