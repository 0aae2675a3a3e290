import ProcessModel

/// A system call that makes, removes or moves a name, or may make one by opening it (arch/x86/entry/syscalls/syscall_64.tbl).
struct NamingCall {
    enum Change {
        case removes, makes
        /// To the second place, over what is there.
        case moves
        /// Makes a file, and fails where there is one: O_CREAT with O_EXCL.
        case createsExclusively
    }

    /// Where a program says that a name is.
    struct Place {
        /// The descriptor of the directory that a relative path begins at; AT_FDCWD: the working directory.
        var directory: UInt64
        /// The path's address in the program's memory.
        var path: UInt64
    }

    let change: Change
    let place: Place
    /// Where `moves` moves it to.
    private(set) var target: Place?
    /// Of what link makes another name.
    private(set) var source: Place?

    /// AT_FDCWD as a 32-bit number; include/uapi/linux/fcntl.h.
    static let workingDirectory: UInt64 = 0xffff_ff9c
    /// O_CREAT and O_EXCL.
    private static let exclusive: UInt64 = 0o300

    /// - Returns: nil for another call, and for one that does the same when it is made again.
    init?(_ registers: GeneralRegisters) {
        func at(_ directory: UInt64, _ path: UInt64) -> Place { Place(directory: directory & 0xffff_ffff, path: path) }
        func here(_ path: UInt64) -> Place { at(Self.workingDirectory, path) }
        let (di, si, dx, r10) = (registers.di, registers.si, registers.dx, registers.r10)
        switch registers.origAX {
        // open, openat
        case 2 where si & Self.exclusive == Self.exclusive: (change, place) = (.createsExclusively, here(di))
        case 257 where dx & Self.exclusive == Self.exclusive: (change, place) = (.createsExclusively, at(di, si))
        // rmdir, unlink, unlinkat
        case 84, 87: (change, place) = (.removes, here(di))
        case 263: (change, place) = (.removes, at(di, si))
        // mkdir, mknod, mkdirat, mknodat
        case 83, 133: (change, place) = (.makes, here(di))
        case 258, 259: (change, place) = (.makes, at(di, si))
        // link, symlink, symlinkat, linkat
        case 86: (change, place, source) = (.makes, here(si), here(di))
        case 88: (change, place) = (.makes, here(si))
        case 266: (change, place) = (.makes, at(si, dx))
        case 265: (change, place, source) = (.makes, at(dx, r10), at(di, si))
        // rename, renameat, renameat2
        case 82: (change, place, target) = (.moves, here(di), here(si))
        case 264, 316: (change, place, target) = (.moves, at(di, si), at(dx, r10))
        default: return nil
        }
    }

    /// renameat2 with anything but RENAME_NOREPLACE: names that are exchanged are there before and after.
    static func exchanges(_ registers: GeneralRegisters) -> Bool { registers.origAX == 316 && registers.r8 & ~1 != 0 }
}
