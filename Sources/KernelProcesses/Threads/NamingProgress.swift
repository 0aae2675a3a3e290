import GuestMemory
import KernelObjects
import ProcessModel

extension DeadKernel {
    /// Functions that remove and move names once everything has been looked up (fs/namei.c), and what frees an inode afterwards (fs/inode.c): a thread that is in one of
    /// them is past the checks that let a call fail.
    static let namingFunctions = ["vfs_unlink", "vfs_rmdir", "vfs_rename", "evict"]

    /// How far the call of a thread has come that changes names: made again after it has done so, it would fail.
    ///
    /// Whether the name is there says the dead kernel's cache of names, for all changes of names go through it; and what it says is also what the files are
    /// made to be in the next life. Whether it was this call that has changed it says where the call is.
    /// - Returns: nil for a call that does the same when it is made again.
    func namingProgress(
        of task: TaskAddress, registers: GeneralRegisters, stage: InterruptedCall.Stage
    ) throws(MemoryFault) -> InterruptedCall.Progress? {
        guard let call = NamingCall(registers) else { return nil }
        guard !NamingCall.exchanges(registers), let held = try heldAddresses(of: task),
            let place = try location(call.place, of: task)
        else { return .uncertain }
        let chain = try callChain(of: task)
        let isAtWork = isInside(chain?.instructions ?? held, functions: Self.namingFunctions)
        let name = state(of: place, heldBy: held)
        switch call.change {
        case .removes:
            return switch name {
            case .leads: .pending
            // Where it was not there before either, the caller is told that it has removed it.
            case .leadsNowhere: .complete(result: 0)
            case .isUnknown: isAtWork ? .uncertain : .pending
            }
        case .makes:
            let source = try call.source.flatMap { source throws(MemoryFault) in try location(source, of: task) }
            return try makingProgress(of: task, chain: chain, name: name, source: source.map { state(of: $0, heldBy: held) })
        case .moves:
            if case .leads = name { return .pending }
            guard let target = try call.target.flatMap({ target throws(MemoryFault) in try location(target, of: task) }) else {
                return .uncertain
            }
            guard case .leads(let moved) = state(of: target, heldBy: held) else { return .pending }
            if isAtWork { return .complete(result: 0) }
            // What is moved takes its name with it. A name that leads nowhere is one that was not found.
            if case .leadsNowhere = name { return .pending }
            // The call holds what it has moved until it ends; before it has looked that up, it may wait for the directory.
            if held.contains(moved) { return .complete(result: 0) }
            return stage == .asleep || stage == .woken ? .pending : .uncertain
        case .createsExclusively:
            guard case .leads(let dentry) = name else { return .pending }
            let flags = registers.origAX == 2 ? registers.si : registers.dx
            return hasCreated(dentry, flags: flags, heldBy: held) ? .fileCreated : .pending
        }
    }

    /// Whether a call has gone through one of some functions and not returned from it.
    func isInside(_ held: [VirtualAddress], functions: [String]) -> Bool {
        held.contains { word in functions.contains { manifest.symbols.contains(word, in: $0) } }
    }

    /// FMODE_CREATED (include/linux/fs.h, since 4.19): the file was made by the call that opens it.
    private static let created: UInt64 = 1 << 20
    /// O_CREAT, O_EXCL, O_NOCTTY and O_TRUNC, which an open file loses, and O_LARGEFILE, which it gets.
    private static let passingFlags: UInt64 = 0o1700 | 0o100000

    /// Whether a call holds the `struct file` that it is opening, and that says that it made the file.
    private func hasCreated(_ dentry: VirtualAddress, flags: UInt64, heldBy held: [VirtualAddress]) -> Bool {
        let fields = layout.files.file
        return held.contains { file in
            // Whatever a word on the stack leads to is no fault of the kernel's.
            guard file.rawValue % 8 == 0, let mode = try? reader.value(fields.mode, of: file),
                mode & Self.created != 0, let found = try? reader.value(fields.flags, of: file),
                (found ^ flags) & 0xffff_ffff & ~Self.passingFlags == 0,
                let place = try? reader.pointer(layout.files.paths.pathDentry, of: file + fields.path.offset)
            else { return false }
            return place.isNull || place == dentry
        }
    }
}
