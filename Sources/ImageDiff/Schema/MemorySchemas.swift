/// images/mm.proto, vma.proto, memfd.proto.
extension MessageSchema {
    static let memory = MessageSchema([
        .hex(1, "mm_start_code"), .hex(2, "mm_end_code"), .hex(3, "mm_start_data"), .hex(4, "mm_end_data"),
        .hex(5, "mm_start_stack"),
        .hex(6, "mm_start_brk"), .hex(7, "mm_brk"), .hex(8, "mm_arg_start"), .hex(9, "mm_arg_end"), .hex(10, "mm_env_start"),
        .hex(11, "mm_env_end"), .number(12, "exe_file_id"), .hex(13, "mm_saved_auxv").repeated, .signed(15, "dumpable"),
        .message(16, "aios", MessageSchema([.hex(1, "id"), .number(2, "nr_req"), .number(3, "ring_len")])).repeated,
        .number(17, "thp_disabled"),
    ])

    static let area = MessageSchema([
        .hex(1, "start"), .hex(2, "end"), .hex(3, "pgoff"), .number(4, "shmid"), .hex(5, "prot"), .hex(6, "flags"),
        .hex(7, "status"),
        .zigzag(8, "fd"), .hex(9, "madv"), .octal(10, "fdflags"),
    ])

    static let memfdInode = MessageSchema([
        .text(1, "name"), .number(2, "uid"), .number(3, "gid"), .number(4, "size"), .number(5, "shmid"), .hex(6, "seals"),
        .number(7, "inode_id"), .number(8, "hugetlb_flag"), .octal(9, "mode"),
    ])
}
