import GuestMemory
import ProcessModel
import Testing

@testable import KernelProcesses

/// How far calls have come that change names, as a kernel's memory shows it.
@Suite struct NamingProgressTests {
    let kernel: SyntheticKernel
    let name: UInt64
    let other: UInt64

    init() throws {
        kernel = try SyntheticKernel()
        name = kernel.setUserText("/name", at: 0)
        other = kernel.setUserText("other", at: 64)
    }

    private func progress(
        _ number: UInt64, _ stage: InterruptedCall.Stage = .preempted, _ change: (inout GeneralRegisters) -> Void = { _ in }
    ) throws -> InterruptedCall.Progress? {
        var registers = GeneralRegisters()
        registers.origAX = number
        registers.di = name
        registers.si = other
        change(&registers)
        return try kernel.dead.namingProgress(of: kernel.task, registers: registers, stage: stage)
    }

    private let unlink: UInt64 = 87
    private let mkdir: UInt64 = 83
    private let symlink: UInt64 = 88
    private let link: UInt64 = 86
    private let rename: UInt64 = 82
    private let open: UInt64 = 2

    @Test func aNameThatIsThereIsStillToBeRemoved() throws {
        kernel.dentry("name", in: kernel.root, inode: kernel.inode(mode: 0o100644))
        kernel.setCall(["__schedule", "vfs_unlink", "do_unlinkat"])
        #expect(try progress(unlink) == .pending)
    }

    @Test func aNameThatLeadsNowhereHasBeenRemoved() throws {
        kernel.dentry("name", in: kernel.root, inode: nil)
        kernel.setCall(["__schedule", "do_unlinkat"])
        #expect(try progress(unlink) == .complete(result: 0))
    }

    @Test func ofANameThatTheKernelHasForgottenSaysThePlaceOfTheCall() throws {
        kernel.setCall(["__schedule", "filename_parentat", "do_unlinkat"])
        #expect(try progress(unlink) == .pending)
        kernel.setCall(["__schedule", "evict", "do_unlinkat"])
        #expect(try progress(unlink) == .uncertain)
    }

    @Test func removedIsAlsoWhatHasNoNameLeftOrIsNotFoundAnyMore() throws {
        kernel.setCall(["__schedule", "do_unlinkat"])
        kernel.dentry("name", in: kernel.root, inode: kernel.inode(mode: 0o100644, links: 0))
        #expect(try progress(unlink) == .complete(result: 0))
        let other = try SyntheticKernel()
        other.setCall(["__schedule", "do_unlinkat"])
        other.dentry("name", in: other.root, inode: other.inode(mode: 0o100644), isHashed: false)
        var registers = GeneralRegisters()
        (registers.origAX, registers.di) = (unlink, other.setUserText("/name", at: 0))
        #expect(try other.dead.namingProgress(of: other.task, registers: registers, stage: .preempted) == .complete(result: 0))
    }

    @Test func whatIsMovedTakesItsNameWithIt() throws {
        kernel.setCall(["__schedule", "vfs_rename", "do_renameat2"])
        kernel.dentry("other", in: kernel.root, inode: kernel.inode(mode: 0o100644))
        #expect(try progress(rename) == .complete(result: 0))
        kernel.dentry("name", in: kernel.root, inode: kernel.inode(mode: 0o100644))
        #expect(try progress(rename) == .pending)
    }

    @Test func aMoveAtItsEndHoldsWhatItHasMoved() throws {
        let moved = kernel.dentry("other", in: kernel.root, inode: kernel.inode(mode: 0o100644))
        kernel.setCall(["__schedule", "dput", "do_renameat2"])
        #expect(try progress(rename, .asleep) == .pending)
        #expect(try progress(rename) == .uncertain)
        kernel.setCall(["__schedule", "dput", "do_renameat2"], leftovers: [moved.rawValue])
        #expect(try progress(rename) == .complete(result: 0))
        kernel.dentry("name", in: kernel.root, inode: nil)
        #expect(try progress(rename) == .pending, "a name that leads nowhere was not found")
    }

    @Test func namesThatAreExchangedSayNothing() throws {
        kernel.dentry("name", in: kernel.root, inode: kernel.inode(mode: 0o100644))
        kernel.setCall(["__schedule", "vfs_rename", "do_renameat2"])
        let here = UInt64(bitPattern: -100)
        let registers = { (flags: UInt64) in
            { (registers: inout GeneralRegisters) in
                (registers.di, registers.si, registers.dx, registers.r10) = (here, self.name, here, self.other)
                registers.r8 = flags
            }
        }
        #expect(try progress(316, .preempted, registers(2)) == .uncertain)
        #expect(try progress(316, .preempted, registers(1)) == .pending)
    }

    // MARK: What makes names

    @Test func whatIsNotThereIsStillToBeMade() throws {
        kernel.setCall(["__schedule", "vfs_mkdir", "do_mkdirat"])
        #expect(try progress(mkdir) == .pending)
        kernel.dentry("name", in: kernel.root, inode: nil)
        #expect(try progress(mkdir) == .pending)
    }

    @Test func aDirectoryIsMadeOnceItsCallHasFoundTheNameFree() throws {
        kernel.dentry("name", in: kernel.root, inode: kernel.inode(mode: 0o040755))
        for functions in [
            ["fsnotify", "vfs_mkdir", "do_mkdirat"], ["__cond_resched", "dput", "do_mkdirat"], ["up_write", "do_mkdirat"],
            ["mnt_drop_write", "filename_mkdirat"], ["dput", "done_path_create", "do_mkdirat"],
        ] {
            kernel.setCall(["__schedule"] + functions)
            #expect(try progress(mkdir) == .complete(result: 0), "\(functions)")
        }
    }

    /// As in 7.2, and in a way that nobody knows.
    @Test func numbersOfRegistersAreThoseOfTheKernel() throws {
        kernel.dentry("name", in: kernel.root, inode: kernel.inode(mode: 0o040755))
        kernel.stackRegister = 3
        kernel.setCall(["__schedule", "dput", "filename_mkdirat"])
        #expect(try progress(mkdir) == .complete(result: 0))
        kernel.stackRegister = 7
        kernel.setCall(["__schedule", "dput", "filename_mkdirat"])
        #expect(try progress(mkdir) == .uncertain)
    }

    /// The same functions, called on the way to EEXIST.
    @Test func aDirectoryThatWasInTheWayIsNotMade() throws {
        kernel.dentry("name", in: kernel.root, inode: kernel.inode(mode: 0o040755))
        for functions in [
            ["dput", "filename_create", "do_mkdirat"], ["down_write", "filename_create", "do_mkdirat"],
            ["getname_flags", "__x64_sys_mkdir"],
        ] {
            kernel.setCall(["__schedule"] + functions)
            #expect(try progress(mkdir) == .pending, "\(functions)")
        }
    }

    @Test func whatEarlierCallsHaveLeftOnTheStackSaysNothing() throws {
        kernel.dentry("name", in: kernel.root, inode: kernel.inode(mode: 0o040755))
        let leftovers = [kernel.instruction(of: "vfs_mkdir"), kernel.instruction(of: "done_path_create")]
        kernel.setCall(["__schedule", "dput", "filename_create", "do_mkdirat"], leftovers: leftovers)
        #expect(try progress(mkdir) == .pending)
        kernel.setCall(["__schedule", "do_mkdirat"], leftovers: leftovers)
        #expect(try progress(mkdir) == .uncertain)
    }

    @Test func atItsVeryEndACallHoldsItsError() throws {
        kernel.dentry("name", in: kernel.root, inode: kernel.inode(mode: 0o040755))
        for functions in [["putname", "do_mkdirat"], ["putname", "__x64_sys_mkdir"]] {
            kernel.setCall(["__schedule"] + functions)
            #expect(try progress(mkdir) == .complete(result: 0))
            for error in [UInt64(bitPattern: -17), 0xffff_ffef, 0x1234_5678_ffff_ffef, 0xffff_fff3_0000_0000] {
                kernel.setCall(["__schedule"] + functions, leftovers: [error])
                #expect(try progress(mkdir) == .uncertain)
            }
            // AT_FDCWD, and an address.
            kernel.setCall(["__schedule"] + functions, leftovers: [0xffff_ff9c, 0xffff_ffff_8100_1234])
            #expect(try progress(mkdir) == .complete(result: 0))
        }
    }

    @Test func whatBelongsToSomebodyElseIsNotTheCalls() throws {
        kernel.dentry("name", in: kernel.root, inode: kernel.inode(mode: 0o040755, uid: 1000))
        kernel.setCall(["__schedule", "mntput", "do_mkdirat"])
        #expect(try progress(mkdir) == .uncertain)
        kernel.set(kernel.layout.credentials.fsuid, of: kernel.credentials, to: 1000)
        #expect(try progress(mkdir) == .complete(result: 0))
    }

    @Test func aNameBehindALinkIsNotKnownAnyMoreAtTheEnd() throws {
        kernel.dentry("through", in: kernel.root, inode: kernel.inode(mode: 0o120777))
        let path = kernel.setUserText("/through/d", at: 128)
        kernel.setCall(["__schedule", "dput", "do_mkdirat"])
        #expect(try progress(mkdir) { $0.di = path } == .uncertain)
        kernel.setCall(["__schedule", "filename_create", "do_mkdirat"])
        #expect(try progress(mkdir) { $0.di = path } == .pending)
    }

    @Test func whatHasFailedIsMadeAgain() throws {
        kernel.dentry("name", in: kernel.root, inode: nil)
        for functions in [["dput", "do_mkdirat"], ["putname", "do_mkdirat"]] {
            // ENOSPC
            kernel.setCall(["__schedule"] + functions, leftovers: [0xffff_ffe4])
            #expect(try progress(mkdir) == .pending)
            // A filesystem that remembers nothing of what it has made.
            kernel.setCall(["__schedule"] + functions)
            #expect(try progress(mkdir) == .uncertain)
        }
    }

    @Test func withoutAWayToUnwindItIsNotKnown() throws {
        kernel.dentry("name", in: kernel.root, inode: kernel.inode(mode: 0o040755))
        kernel.setCall(["__schedule", "vfs_mkdir"])
        let bottom = try kernel.dead.reader.pointer(kernel.layout.task.stackPointer, of: kernel.task)
        // Where the entry should be, behind two return addresses and what lies between them.
        kernel.memory.place([0xdead], at: bottom + 72)
        #expect(try progress(mkdir) == .uncertain)
    }

    @Test func symbolicLinksAreLikeDirectories() throws {
        kernel.dentry("other", in: kernel.root, inode: kernel.inode(mode: 0o120777))
        kernel.setCall(["__schedule", "dput", "do_symlinkat"])
        #expect(try progress(symlink) == .complete(result: 0))
        kernel.setCall(["__schedule", "dput", "filename_create", "do_symlinkat"])
        #expect(try progress(symlink) == .pending)
    }

    @Test func aLinkOfTheSameFileIsTheCalls() throws {
        let inode = kernel.inode(mode: 0o100644, links: 2)
        kernel.dentry("name", in: kernel.root, inode: inode)
        kernel.dentry("other", in: kernel.root, inode: inode)
        kernel.setCall(["__schedule", "dput", "do_linkat"])
        #expect(try progress(link) == .complete(result: 0))
        kernel.setCall(["__schedule", "dput", "filename_create", "do_linkat"])
        #expect(try progress(link) == .pending, "it was there before")
    }

    @Test func anotherFileWasInTheWayOfALink() throws {
        kernel.dentry("name", in: kernel.root, inode: kernel.inode(mode: 0o100644))
        kernel.dentry("other", in: kernel.root, inode: kernel.inode(mode: 0o100644))
        kernel.setCall(["__schedule", "dput", "do_linkat"])
        #expect(try progress(link) == .pending)
    }

    // MARK: open

    @Test func aFileThatTheCallHasMadeSaysSo() throws {
        let dentry = kernel.dentry("name", in: kernel.root, inode: kernel.inode(mode: 0o100644))
        let flags: UInt64 = 0o302
        let fields = kernel.layout.files
        let file = kernel.object()
        kernel.set(fields.file.flags, of: file, to: 0o100002)
        kernel.set(fields.paths.pathDentry, of: file + fields.file.path.offset, to: dentry.rawValue)
        kernel.setCall(["__schedule", "do_sys_openat2"], leftovers: [file.rawValue])
        #expect(try progress(open) { $0.si = flags } == .pending, "it was there before")
        kernel.set(fields.file.mode, of: file, to: 1 << 20)
        #expect(try progress(open) { $0.si = flags } == .fileCreated)
        #expect(try progress(open) { $0.si = flags | 0o2000 } == .pending, "another call's file")
        #expect(try progress(open) { $0.si = 0o102 } == nil)
    }
}
