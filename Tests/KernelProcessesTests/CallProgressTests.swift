import GuestMemory
import ProcessModel
import Testing

@testable import KernelProcesses

/// How far calls have come that start processes or close files.
@Suite struct CallProgressTests {
    let kernel: SyntheticKernel

    init() throws { kernel = try SyntheticKernel() }

    private func progress(_ number: UInt64, di: UInt64 = 0) throws -> InterruptedCall.Progress? {
        var registers = GeneralRegisters()
        (registers.origAX, registers.di) = (number, di)
        return try kernel.dead.progress(of: kernel.task, registers: registers, stage: .preempted)
    }

    @Test func aDescriptorThatIsFreeHasBeenClosed() throws {
        kernel.setDescriptors([kernel.object(), nil])
        #expect(try progress(3, di: 0) == .pending)
        #expect(try progress(3, di: 1) == .complete(result: 0))
    }

    @Test func mappingsThatAreMovedAreOfNoSuchKind() throws {
        kernel.setCall(["__schedule", "mremap_to"])
        #expect(try progress(25) == nil)
    }

    @Test(arguments: [UInt64(56), 57, 58, 435]) func aChildIsStartedOnceItIsNew(call: UInt64) throws {
        kernel.setCall(["__schedule", "copy_process", "kernel_clone"])
        #expect(try progress(call) == .pending)
        let child = kernel.addTask(pid: 77, parent: kernel.task)
        kernel.setCall(["__schedule", "kernel_clone"], leftovers: [child.rawValue])
        #expect(try progress(call) == .pending, "a child of an earlier call, which has been woken")
        kernel.set(kernel.layout.task.state, of: child, to: 0x800)
        #expect(try progress(call) == .complete(result: 77))
        let second = kernel.addTask(pid: 78, parent: kernel.task)
        kernel.set(kernel.layout.task.state, of: second, to: 0x800)
        kernel.setCall(["__schedule", "kernel_clone"], leftovers: [child.rawValue, second.rawValue])
        #expect(try progress(call) == .uncertain, "one of two")
    }

    @Test func aThreadIsOfTheSameProcess() throws {
        let stranger = kernel.addTask(pid: 80)
        let thread = kernel.addTask(pid: 81)
        for task in [stranger, thread] { kernel.set(kernel.layout.task.state, of: task, to: 0x800) }
        let process = try kernel.dead.reader.pointer(kernel.layout.task.signal, of: kernel.task)
        kernel.set(kernel.layout.task.signal, of: thread, to: process.rawValue)
        kernel.setCall(["__schedule", "kernel_clone"], leftovers: [stranger.rawValue, thread.rawValue, kernel.task.rawValue])
        #expect(try progress(56) == .complete(result: 81))
    }

    @Test func whoWaitsForTheEndOfAVforkHasStartedIt() throws {
        kernel.setCall(["__schedule", "wait_for_completion_state", "kernel_clone"])
        #expect(try progress(58) == .uncertain)
        let child = kernel.addTask(pid: 90, parent: kernel.task)
        kernel.setCall(["__schedule", "wait_for_completion_state", "kernel_clone"], leftovers: [child.rawValue])
        #expect(try progress(58) == .complete(result: 90))
    }

    @Test func aChildHasANumberInTheNamespaceOfItsParent() throws {
        let fields = kernel.layout.signal
        let child = kernel.addTask(pid: 500, parent: kernel.task)
        let reader = kernel.dead.reader
        let (own, its) = (
            try reader.pointer(kernel.layout.task.threadPID, of: kernel.task),
            try reader.pointer(kernel.layout.task.threadPID, of: child)
        )
        kernel.set(fields.pidLevel, of: own, to: 1)
        #expect(try kernel.dead.number(of: child, seenBy: kernel.task) == nil, "it is in none")
        kernel.set(fields.pidLevel, of: its, to: 1)
        kernel.set(fields.pidNumber, of: its + fields.pidNumbers.offset + fields.pidNumberSize, to: 5)
        #expect(try kernel.dead.number(of: child, seenBy: kernel.task) == 5)
        kernel.set(fields.pidLevel, of: own, to: 0)
        #expect(try kernel.dead.number(of: child, seenBy: kernel.task) == 500)
    }

    // MARK: Files without descriptors

    /// A file that somebody writes to.
    private func openFile(mode: UInt64 = 3, writers: UInt64 = 1) -> VirtualAddress {
        let (file, superblock) = (kernel.object(), kernel.object())
        let inode = kernel.inode(mode: 0o100644)
        let files = kernel.layout.files
        kernel.set(files.superblock.device, of: superblock, to: 8)
        kernel.set(files.inode.superblock, of: inode, to: superblock.rawValue)
        kernel.set(files.inode.number, of: inode, to: 12)
        kernel.set(files.catchUp.writerCount, of: inode, to: writers)
        kernel.set(files.file.mode, of: file, to: mode)
        kernel.set(files.file.inode, of: file, to: inode.rawValue)
        return file
    }

    private func filesInHand(_ number: UInt64) throws -> Set<InodeIdentity> {
        var registers = GeneralRegisters()
        registers.origAX = number
        return try kernel.dead.filesInHand(of: kernel.task, registers: registers)
    }

    @Test func aFileThatIsBeingOpenedOrClosedIsInHand() throws {
        let file = openFile()
        let identity = InodeIdentity(device: 8, inode: 12)
        kernel.setCall(["__schedule", "do_sys_openat2"], leftovers: [file.rawValue])
        #expect(try filesInHand(257) == [identity] && filesInHand(3) == [identity])
        #expect(try filesInHand(0) == [], "what an earlier call has left")
        #expect(try filesInHand(.max) == [])
        kernel.setCall(["__schedule", "__fput", "task_work_run"], leftovers: [file.rawValue])
        #expect(try filesInHand(0) == [identity])
        kernel.setCall(
            ["__schedule", "do_sys_openat2"], leftovers: [openFile(mode: 1).rawValue, openFile(writers: 0).rawValue])
        #expect(try filesInHand(257) == [])
    }

    @Test func aFileThatEndsWithTheCallIsInHand() throws {
        let (file, later) = (openFile(), openFile())
        let works = try #require(kernel.layout.task.works)
        let ending = try #require(kernel.layout.files.file.ending)
        let function = kernel.instruction(of: "____fput") - 16
        kernel.memory.place([(later + ending.offset).rawValue, 0xffff_ffff_8100_0000 + 0xf000], at: file + ending.offset)
        kernel.memory.place([0, function], at: later + ending.offset)
        kernel.set(works, of: kernel.task, to: (file + ending.offset).rawValue)
        kernel.setCall(["__schedule"])
        #expect(try filesInHand(0) == [InodeIdentity(device: 8, inode: 12)])
        kernel.memory.place([0, function + 1], at: later + ending.offset)
        #expect(try filesInHand(0) == [], "other work")
    }

    // MARK: Threads that have never run

    @Test func aThreadThatHasNeverRunIsStillToWriteItsNumber() throws {
        kernel.set(kernel.layout.task.setChildTID, of: kernel.task, to: 0x7000)
        kernel.setCall(["__schedule"])
        #expect(try kernel.dead.unwrittenThreadID(of: kernel.task) == nil)
        kernel.setCall(["ret_from_fork_asm"])
        #expect(
            try kernel.dead.unwrittenThreadID(of: kernel.task)
                == UnwrittenThreadID(address: VirtualAddress(0x7000), number: 100))
        kernel.set(kernel.layout.task.setChildTID, of: kernel.task, to: 0)
        #expect(try kernel.dead.unwrittenThreadID(of: kernel.task) == nil)
    }
}
