import CLinux
import Glibc

/// Linux system calls that take paths, as safe functions with the result of the call (negative: failed, with errno set).
///
/// What makes each of them sound: Swift passes a String as a null-terminated copy that lives until the call returns, and none of
/// these calls keeps the pointer.
enum System {
    static func open(_ path: String, _ flags: Int32, _ mode: mode_t = 0) -> Int32 {
        unsafe Glibc.open(path, flags | O_CLOEXEC, mode)
    }

    /// Opens `path` below a directory, following no symbolic link (`openat2`, RESOLVE_BENEATH and RESOLVE_NO_SYMLINKS).
    static func openBeneath(_ directory: borrowing Descriptor, _ path: String, _ flags: Int32, _ mode: mode_t = 0) -> Int32 {
        unsafe xpr_open_beneath(directory.number, path, UInt64(flags), UInt64(mode))
    }

    @discardableResult
    static func unlink(_ path: String) -> Int32 { unsafe Glibc.unlink(path) }

    @discardableResult
    static func rmdir(_ path: String) -> Int32 { unsafe Glibc.rmdir(path) }

    static func mkdir(_ path: String, _ mode: mode_t) -> Int32 { unsafe Glibc.mkdir(path, mode) }

    static func mkfifo(_ path: String, _ mode: mode_t) -> Int32 { unsafe Glibc.mkfifo(path, mode) }

    static func chdir(_ path: String) -> Int32 { unsafe Glibc.chdir(path) }

    static func rename(_ old: String, _ new: String) -> Int32 { unsafe Glibc.rename(old, new) }

    /// Renames the entry of a directory.
    static func rename(_ directory: borrowing Descriptor, _ name: String, to new: String) -> Int32 {
        unsafe renameat(directory.number, name, AT_FDCWD, new)
    }

    /// Moves a file from one directory to another, or gives it another name.
    static func rename(_ old: borrowing Descriptor, _ name: String, to new: borrowing Descriptor, _ other: String) -> Int32 {
        unsafe renameat(old.number, name, new.number, other)
    }

    /// Gives a file of a directory a second name.
    static func link(_ old: borrowing Descriptor, _ name: String, to new: borrowing Descriptor, _ other: String) -> Int32 {
        unsafe linkat(old.number, name, new.number, other, 0)
    }

    /// Makes a symbolic link in a directory, and gives it an owner.
    static func symlink(_ target: String, _ directory: borrowing Descriptor, _ name: String, uid: uid_t, gid: gid_t) -> Int32 {
        let made = unsafe symlinkat(target, directory.number, name)
        return made == 0 ? unsafe fchownat(directory.number, name, uid, gid, AT_SYMLINK_NOFOLLOW) : made
    }

    /// Where a symbolic link of a directory leads; nil: it is none, or cannot be read.
    static func target(_ directory: borrowing Descriptor, _ name: String) -> String? {
        var bytes = [UInt8](repeating: 0, count: 4096)
        let length = unsafe bytes.withUnsafeMutableBytes { buffer in
            // The kernel writes no more than the buffer has, which has memory, for it is not empty.
            unsafe buffer.baseAddress.map { unsafe readlinkat(directory.number, name, $0, buffer.count) } ?? -1
        }
        return length > 0 ? String(decoding: bytes.prefix(length), as: UTF8.self) : nil
    }

    /// What a name in a directory refers to, a symbolic link being itself; nil when there is nothing.
    static func status(_ directory: borrowing Descriptor, _ name: String) -> stat? {
        var status = stat()
        // fstatat fills the structure that is passed.
        return unsafe fstatat(directory.number, name, &status, AT_SYMLINK_NOFOLLOW) == 0 ? status : nil
    }

    /// Loads a filter of devices and attaches it to an open cgroup.
    static func filterDevices(of cgroup: Int32, _ instructions: [UInt64], _ flags: UInt32) -> Int32 {
        unsafe instructions.withUnsafeBufferPointer { buffer in
            // Pointer and count are those of one buffer, which lives while this closure runs.
            unsafe xpr_filter_devices(cgroup, buffer.baseAddress, UInt32(clamping: buffer.count), flags)
        }
    }

    /// N of the /dev/pts/N that a master leads to (TIOCGPTN); nil: it is no master.
    static func pseudoTerminalNumber(_ master: Int32) -> Int? {
        var number: UInt32 = 0
        // The kernel fills one unsigned int.
        return unsafe ioctl(master, 0x8004_5430, &number) == 0 ? Int(number) : nil
    }

    static func isWritable(_ path: String) -> Bool { unsafe access(path, W_OK) == 0 }

    static func exists(_ path: String) -> Bool { unsafe access(path, F_OK) == 0 }

    @discardableResult
    static func setName(_ name: String) -> Int32 { unsafe xpr_set_name(name) }

    /// `f_type` of statfs(2); nil: there is nothing.
    static func filesystemType(_ path: String) -> Int? {
        let type = unsafe xpr_filesystem_type(path)
        return type < 0 ? nil : type
    }

    static func mount(_ device: String, _ directory: String, _ type: String, _ flags: UInt, _ data: String? = nil) -> Int32 {
        guard let data else { return unsafe Glibc.mount(device, directory, type, flags, nil) }
        // The kernel reads the zero-terminated copy of the options during the call.
        return unsafe data.withCString { unsafe Glibc.mount(device, directory, type, flags, $0) }
    }

    /// A new filesystem, as a mount that is nowhere yet; `attributes` are MOUNT_ATTR_* of fsmount(2). Negative where it cannot be made.
    static func makeMount(_ type: String, _ options: [(name: String, value: String)], attributes: UInt32) -> Int32 {
        guard let filesystem = Descriptor(taking: unsafe xpr_new_filesystem(type)) else { return -1 }
        for (name, value) in options where unsafe xpr_set_option(filesystem.number, name, value) != 0 { return -1 }
        return xpr_make_mount(filesystem.number, attributes)
    }

    /// Takes a mount out of the tree of files at once; it ends when nothing uses it (MNT_DETACH).
    @discardableResult
    static func unmount(_ directory: String) -> Int32 { unsafe umount2(directory, Int32(MNT_DETACH)) }

    /// The names in a directory without "." and ".."; none when it cannot be read.
    static func list(_ directory: String) -> [String] {
        guard let stream = unsafe opendir(directory) else { return [] }
        // The stream is open until here, and an entry is valid until the next readdir; its name ends with a null byte.
        defer { unsafe closedir(stream) }
        var names: [String] = []
        while let entry = unsafe readdir(stream) {
            let name = unsafe String(cString: xpr_entry_name(entry))
            if name != ".", name != ".." { names.append(name) }
        }
        return names
    }

    /// pread(2) of at most `count` bytes, and no more than the buffer has.
    static func readAt(_ descriptor: Int32, into buffer: inout [UInt8], count: Int, offset: Int64) -> Int {
        unsafe buffer.withUnsafeMutableBytes { buffer in
            // The count is limited to that of the buffer, which lives while this closure runs.
            unsafe pread(descriptor, buffer.baseAddress, min(count, buffer.count), off_t(offset))
        }
    }

    /// pwrite(2) of a range of `bytes`.
    static func writeAt(_ descriptor: Int32, _ bytes: [UInt8], _ range: Range<Int>, offset: Int64) -> Int {
        unsafe bytes.withUnsafeBytes { buffer in
            let part = unsafe UnsafeRawBufferPointer(rebasing: buffer[range])
            // Pointer and count are those of one buffer, which lives while this closure runs.
            return unsafe pwrite(descriptor, part.baseAddress, part.count, off_t(offset))
        }
    }

    /// Replaces the calling process by a program, which is looked up in PATH when it has no slash. Returns only on failure.
    static func execute(_ arguments: [String]) {
        // strdup gives copies that stay allocated until the exec replaces this process, and the list ends with the nil that
        // execvp needs.
        var list: [UnsafeMutablePointer<CChar>?] = unsafe arguments.map { unsafe strdup($0) }
        unsafe list.append(nil)
        guard let program = arguments.first else { return }
        _ = unsafe execvp(program, list)
    }

    /// A new POSIX message queue, open for both; its name is without the slash, as the kernel has it.
    static func makeQueue(_ name: String, mode: UInt32, limit: Int, bytes: Int) -> Int32 {
        unsafe xpr_make_queue(name, mode, limit, bytes)
    }

    static func removeQueue(_ name: String) { _ = unsafe xpr_remove_queue(name) }

    /// Puts a message into a queue.
    static func send(_ queue: Int32, _ bytes: [UInt8], priority: UInt32) -> Int32 {
        unsafe bytes.withUnsafeBytes { buffer in
            // Pointer and count are those of one buffer, which lives while this closure runs.
            unsafe xpr_send(queue, buffer.baseAddress, buffer.count, priority)
        }
    }

    /// A variable of the environment; nil: it is not set.
    static func environment(_ name: String) -> String? {
        // The text ends with a null byte, and nothing changes the environment while it is copied, for the agent has one thread.
        unsafe getenv(name).map { unsafe String(cString: $0) }
    }

    /// The path of this program.
    static func ownProgram() throws(AgentError) -> String {
        var bytes = [UInt8](repeating: 0, count: 4096)
        let length = unsafe bytes.withUnsafeMutableBytes { buffer in
            // The kernel writes no more than the buffer has, which has memory, for it is not empty.
            unsafe buffer.baseAddress.map { unsafe readlink("/proc/self/exe", $0, buffer.count) } ?? -1
        }
        guard length > 0 else { throw systemError("cannot find this program") }
        return String(decoding: bytes.prefix(length), as: UTF8.self)
    }

    /// setenv(3), for a program that is executed next.
    static func setEnvironment(_ name: String, to value: String) {
        // Both strings live as zero-terminated copies while setenv runs, which copies them, and the agent has one thread.
        _ = unsafe setenv(name, value, 1)
    }

    /// write(2) of what follows `start`, which is at most the count.
    static func write(_ descriptor: Int32, _ bytes: [UInt8], from start: Int = 0) -> Int {
        unsafe bytes.withUnsafeBytes { buffer in
            let rest = unsafe UnsafeRawBufferPointer(rebasing: buffer[start...])
            // Pointer and count are those of one buffer, which lives while this closure runs.
            return unsafe Glibc.write(descriptor, rest.baseAddress, rest.count)
        }
    }

    /// read(2) of at most as many bytes as `buffer` has.
    static func read(_ descriptor: Int32, into buffer: inout [UInt8]) -> Int {
        unsafe buffer.withUnsafeMutableBytes { buffer in
            // Pointer and count are those of one buffer, which lives while this closure runs.
            unsafe Glibc.read(descriptor, buffer.baseAddress, buffer.count)
        }
    }

    /// Both ends of a new pipe, close-on-exec; nil when the call fails.
    static func pipe() -> (read: Int32, write: Int32)? {
        var ends: [Int32] = [-1, -1]
        // The call writes two descriptors into an array of two.
        return unsafe xpr_pipe(&ends) == 0 ? (ends[0], ends[1]) : nil
    }

    /// Waits for events on descriptors, at most `milliseconds` (-1: without limit). Returns which of them have some, or nil
    /// after a signal or a failure.
    static func poll(_ descriptors: [Int32], events: Int32 = POLLIN, milliseconds: Int32 = -1) -> [Bool]? {
        poll(descriptors.map { ($0, events) }, milliseconds: milliseconds)
    }

    /// The same with events of its own for each descriptor.
    static func poll(_ descriptors: [(Int32, events: Int32)], milliseconds: Int32 = -1) -> [Bool]? {
        var waits = descriptors.map { pollfd(fd: $0, events: Int16($1), revents: 0) }
        // poll reads and writes exactly the entries of the array, which lives across the call.
        guard unsafe Glibc.poll(&waits, nfds_t(waits.count), milliseconds) >= 0 else { return nil }
        return waits.map { $0.revents != 0 }
    }

    /// Sets the CPUs that a thread may run on (sched_setaffinity). False when it is refused, or none of the CPUs is there.
    static func setAffinity(of thread: pid_t, to cpus: [Int]) -> Bool {
        // The bits of a kernel cpumask, in longs as the kernel wants them; 8192 CPUs are the most that Linux supports.
        var mask = [UInt64](repeating: 0, count: 128)
        for cpu in cpus where (0..<8192).contains(cpu) { mask[cpu / 64] |= 1 << UInt64(cpu % 64) }
        // The call reads as many bytes as the array has.
        return unsafe xpr_set_affinity(thread, mask, mask.count * 8) == 0
    }

    /// Sets when an open file was last read and written to (futimens); a time that is nil stays.
    static func setTimes(_ descriptor: Int32, accessed: timespec?, modified: timespec?) -> Int32 {
        // The call reads two times from an array of two, which lives across it.
        unsafe futimens(descriptor, [accessed ?? omitted, modified ?? omitted])
    }

    /// The same for a name in a directory, a symbolic link being itself (utimensat).
    static func setTimes(_ directory: borrowing Descriptor, _ name: String, accessed: timespec?, modified: timespec?) -> Int32 {
        // The call reads two times from an array of two, which lives across it, as does the zero-terminated copy of the name.
        unsafe utimensat(directory.number, name, [accessed ?? omitted, modified ?? omitted], AT_SYMLINK_NOFOLLOW)
    }

    /// UTIME_OMIT (include/linux/stat.h): a time that stays.
    private static let omitted = timespec(tv_sec: 0, tv_nsec: 0x3fff_fffe)

    /// What a descriptor refers to; nil when it is not open.
    static func status(_ descriptor: Int32) -> stat? {
        var status = stat()
        // fstat fills the structure that is passed.
        return unsafe fstat(descriptor, &status) == 0 ? status : nil
    }
}
