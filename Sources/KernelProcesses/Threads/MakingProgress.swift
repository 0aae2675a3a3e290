import GuestMemory
import KernelObjects
import ProcessModel

/// Where a call is that makes a name (mkdir, mknod, symlink, link).
private enum MakingStage {
    /// It does not know yet that nothing has the name, or has found that something has it.
    case before
    /// It is at work on a name that was free.
    case atWork
    /// It is done with that work, or it has failed.
    case past
    /// It is at its very end, also where something had the name.
    case leaving
    case isUnknown
}

extension DeadKernel {
    /// What does the work (fs/namei.c).
    private static let makers = ["vfs_mkdir", "vfs_mknod", "vfs_create", "vfs_symlink", "vfs_link"]
    /// What reads the paths and looks them up. filename_create returns with the directory locked and a name that is free, or fails (fs/namei.c, 5.10 to 7.2).
    private static let makingBegins = [
        "getname", "getname_flags", "getname_flags.part.0", "do_getname", "filename_lookup", "filename_create",
    ]
    /// The calls themselves, by their names before and in 7.x. For link they say less: it ends in the same way when it fails.
    private static let makingCalls = [
        "do_mkdirat", "do_mknodat", "do_symlinkat", "filename_mkdirat", "filename_mknodat", "filename_symlinkat",
    ]
    /// What they call after filename_create has returned such a name, and only then: done_path_create, which is called end_creating_path since 6.17, or what it
    /// consists of where the compiler has put it into the call; and before that for mknod a security module.
    private static let makingEnds = [
        "done_path_create", "end_creating_path", "dput", "dput.part.0", "up_write", "mnt_drop_write", "mntput", "path_put",
        "ima_post_path_mknod", "security_path_post_mknod",
    ]
    /// What gives a path back that was read.
    private static let pathEnds = ["putname"]

    static var makingSymbols: Set<String> {
        Set(makers).union(makingBegins).union(makingCalls).union(makingEnds).union(pathEnds)
    }

    /// How far a call has come that makes a name. When it is there, either the call has made it, or it fails because of it.
    ///
    /// That says the place where the call is, for all that makes a name in a directory has it locked from the look at the name on. Once the lock is given up, a call that has
    /// failed for another reason could still see the name made by somebody else; that somebody would be another user, for whom the reason does not hold.
    /// - Parameter source: what the file is called that link gives another name; nil for other calls.
    func makingProgress(
        of task: TaskAddress, chain: CallChain?, name: NameState, source: NameState?
    ) throws(MemoryFault) -> InterruptedCall.Progress {
        let stage = makingStage(chain)
        guard case .leads(let made) = name else {
            // It has failed, unless the path leads through links and mounts, where what it leads to is known only while the call holds it, or the filesystem gives what it has
            // made no name in the cache (kernfs_iop_mkdir, fs/kernfs/dir.c).
            if stage == .past || stage == .leaving, try !holdsErrorNumber(task) { return .uncertain }
            return .pending
        }
        switch stage {
        case .before: return .pending
        case .atWork: return .complete(result: 0)
        case .past where source == nil:
            return try isOwn(made, of: task) ? .complete(result: 0) : .uncertain
        case .leaving where source == nil:
            guard try isOwn(made, of: task), try !holdsErrorNumber(task) else { return .uncertain }
            return .complete(result: 0)
        case .past, .leaving, .isUnknown:
            guard case .leads(let original)? = source else { return .uncertain }
            let inode = layout.files.paths.dentryInode
            // A link to the same file is this call's, one to another was in its way.
            return try reader.pointer(inode, of: made) == reader.pointer(inode, of: original) ? .complete(result: 0) : .pending
        }
    }

    private func makingStage(_ chain: CallChain?) -> MakingStage {
        guard let instructions = chain?.instructions else { return .isUnknown }
        if isInside(instructions, functions: Self.makers) { return .atWork }
        if isInside(instructions, functions: Self.makingBegins) { return .before }
        for (callee, caller) in zip(instructions, instructions.dropFirst())
        where isInside([caller], functions: Self.makingCalls) && isInside([callee], functions: Self.makingEnds) {
            return .past
        }
        return isInside(instructions, functions: Self.pathEnds) ? .leaving : .isUnknown
    }

    /// Whether a name's inode belongs to whom one would belong that the task makes (inode_init_owner, fs/inode.c).
    private func isOwn(_ dentry: VirtualAddress, of task: TaskAddress) throws(MemoryFault) -> Bool {
        let inode = try reader.pointer(layout.files.paths.dentryInode, of: dentry)
        let used = try reader.pointer(layout.task.credentials, of: task)
        return try reader.uint32(layout.files.inode.uid, of: inode) == reader.uint32(layout.credentials.fsuid, of: used)
    }

    /// Whether a task's stack or registers have anything that could be the error that its call is to return, as an `int` or as a pointer (MAX_ERRNO,
    /// include/linux/err.h).
    private func holdsErrorNumber(_ task: TaskAddress) throws(MemoryFault) -> Bool {
        guard let stack = try liveStack(of: task) else { return true }
        var words = stride(from: 0, to: stack.bytes.count, by: 8).map(stack.word)
        if let number = try cpuNumber(of: task) {
            guard let cpu = try context(of: task, onCPU: number), cpu.general.count == 15 else { return true }
            words += cpu.general
        }
        return words.contains { word in
            let (low, high) = (UInt32(truncatingIfNeeded: word), UInt32(word >> 32))
            // The upper half of an address inside the kernel's image or a module is none.
            return Self.isErrorNumber(low) || Self.isErrorNumber(high) && !(high == .max && low >> 31 == 1)
        }
    }

    /// AT_FDCWD, which the call was given, would be ENETDOWN.
    private static func isErrorNumber(_ word: UInt32) -> Bool {
        Int32(bitPattern: word) < 0 && Int32(bitPattern: word) >= -4095 && Int32(bitPattern: word) != -100
    }
}
