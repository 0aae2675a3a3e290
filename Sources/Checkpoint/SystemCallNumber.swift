/// System calls of x86-64 that need a treatment of their own (arch/x86/entry/syscalls/syscall_64.tbl).
enum SystemCallNumber {
    static let read: UInt64 = 0
    static let write: UInt64 = 1
    static let open: UInt64 = 2
    static let poll: UInt64 = 7
    static let writev: UInt64 = 20
    static let select: UInt64 = 23
    static let nanosleep: UInt64 = 35
    static let sendto: UInt64 = 44
    static let recvfrom: UInt64 = 45
    static let sendmsg: UInt64 = 46
    static let clone: UInt64 = 56
    static let semop: UInt64 = 65
    static let msgsnd: UInt64 = 69
    static let msgrcv: UInt64 = 70
    static let rtSigtimedwait: UInt64 = 128
    static let futex: UInt64 = 202
    static let restartSystemCall: UInt64 = 219
    static let semtimedop: UInt64 = 220
    static let clockNanosleep: UInt64 = 230
    static let epollWait: UInt64 = 232
    static let pselect6: UInt64 = 270
    static let ppoll: UInt64 = 271
    static let epollPwait: UInt64 = 281
    static let clone3: UInt64 = 435
    static let epollPwait2: UInt64 = 441

    static let fallocate: UInt64 = 285
    static let mremap: UInt64 = 25
    static let sendfile: UInt64 = 40
    static let splice: UInt64 = 275
    static let vmsplice: UInt64 = 278

    /// -ENOSYS, which is in ax while a call runs (arch/x86/entry/entry_64.S).
    static let isRunning = UInt64(bitPattern: -38)

    /// write, writev, sendto, sendmsg, vmsplice, sendmmsg, pwritev2: what they put into the descriptor in di.
    static let sending: Set<UInt64> = [write, writev, sendto, sendmsg, vmsplice, 307, 328]
    /// read, readv, recvfrom, recvmsg, recvmmsg, preadv2: what they take out of the descriptor in di.
    static let receiving: Set<UInt64> = [0, 19, 45, 47, 299, 327]
    /// sendfile, splice, tee: from one descriptor to another.
    static let copying: Set<UInt64> = [sendfile, splice, 276]

    /// clone, fork, vfork, clone3.
    static let starting: Set<UInt64> = [clone, 57, 58, clone3]
    /// CLONE_PARENT_SETTID.
    static let writesToParent: UInt64 = 0x10_0000
    /// O_EXCL.
    static let exclusive: UInt64 = 0o200

    /// io_getevents, io_pgetevents: of the context in di they wait for as many results as si says, and take each when it is there.
    static let takingResults: Set<UInt64> = [208, 333]

    /// Calls of System V IPC, mq_timedsend and mq_timedreceive, that have done nothing while they sleep, and all when they do not: who wakes them has done it for them.
    static let systemVWaits: Set<UInt64> = [semop, msgsnd, msgrcv, semtimedop, 242, 243]

    /// Calls that any handler of a signal ends, SA_RESTART or not (signal(7)): pause, rt_sigsuspend, select and poll with their like, sleeps, epoll_wait and its like, rt_sigtimedwait,
    /// those of System V IPC.
    static let untilSignal: Set<UInt64> = [
        34, 130, select, pselect6, poll, ppoll, nanosleep, clockNanosleep, epollWait, epollPwait, epollPwait2, rtSigtimedwait,
        semop,
        semtimedop, msgsnd, msgrcv,
    ]

    /// Calls that wait for nothing but their turn, and may fail or do more when they are made a second time: ioctl, bind, kill and its like,
    /// removexattr and its like, io_setup, io_destroy, io_getevents, io_submit, timer_delete, epoll_ctl, inotify_rm_watch, mremap. Waiting, they have done nothing.
    static let onceOnly: Set<UInt64> = [
        16, mremap, 49, 62, 129, 197, 198, 199, 200, 206, 207, 208, 209, 226, 233, 234, 255, 297, 333, 424,
    ]

    /// Calls that wait.
    static let waiting: Set<UInt64> = [
        0, 1, 7, 17, 18, 19, 20, 23, 34, 35, 42, 43, 44, 45, 46, 47, 61, 72, 73, 128, 130, 202, 230, 232, 240, 242, 243, 247,
        270, 271,
        275, 276, 277, 278, 281, 288, 295, 296, 299, 307, 318, 327, 328, 441, 449,
    ]

    /// Calls that may be made again: they wait, and have changed nothing while they do, or making them twice is the same as making them once.
    ///
    /// Those that wait (read, accept, wait4, futex…) return -ERESTARTSYS and the like in the kernel; queries and settings (getpid, mprotect,
    /// rt_sigaction…) are caught only between two instructions. What makes a
    /// descriptor puts it into the table last. exit and execve have not happened while the process is still there as it was.
    static let restartable: Set<UInt64> = {
        let harmlessTwice: [UInt64] = [
            2, 4, 5, 6, 8, 9, 10, 11, 12, 13, 14, 15, 21, 22, 24, 26, 27, 28, 32, 33, 39, 41, 48, 50, 51, 52, 53, 54, 55, 63,
            74, 75, 76, 77, 79, 80, 81, 85, 89, 90, 91, 92, 93, 94, 95, 96, 97, 98, 99, 100, 102, 104, 107, 108, 110, 111,
            112, 121, 124, 131, 132, 137, 138, 140, 142, 143, 144, 145, 149, 150, 157, 158, 160, 161, 162, 186, 187, 188,
            189, 190, 191, 192, 193, 194, 195, 196, 201, 203, 204, 217, 218, 221, 222, 223, 224, 225, 227, 228, 229, 235,
            254, 257, 260, 261, 262, 267, 268, 269, 273, 274, 280, 282, 283, 284, 285, 286, 287, 289, 290, 291, 292, 293,
            294, 302, 306, 309, 310, 311, 314, 315, 319, 324, 326, 332, 334, 434, 436, 437, 439, 452,
        ]
        let ending: [UInt64] = [59, 60, 231, 322]
        return waiting.union(harmlessTwice + ending).union(onceOnly)
    }()
}
